/**
 * A row of a ledger that may have been changed by anybody: every field is checked as it is taken.
 */
import { HongbaoError } from "../format/error.ts";

export type Row = Readonly<Record<string, unknown>>;

/** @throws HongbaoError `corrupt_ledger` */
export function integer(row: Row, field: string): number {
  const value = row[field];
  if (typeof value === "number" && Number.isSafeInteger(value)) return value;
  throw new HongbaoError("corrupt_ledger", `the ledger holds a value of ${field} that is not a whole number`);
}

/** @throws HongbaoError `corrupt_ledger` */
export function text(row: Row, field: string): string {
  const value = row[field];
  if (typeof value === "string") return value;
  throw new HongbaoError("corrupt_ledger", `the ledger holds a value of ${field} that is not a text`);
}

/** @throws HongbaoError `corrupt_ledger` */
export function blob(row: Row, field: string, bytes: number): Buffer {
  const value = row[field];
  if (Buffer.isBuffer(value) && value.length === bytes) return value;
  throw new HongbaoError(
    "corrupt_ledger",
    `the ledger holds a value of ${field} that does not have ${bytes} bytes`,
  );
}
