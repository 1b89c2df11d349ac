/**
 * What can go wrong with each operation of a disk.
 */
import type { Fault, OperationKind } from "./disk-process.ts";

const READ: readonly Fault[] = [{ code: "EIO", done: "nothing" }];
const CHANGE: readonly Fault[] = [...READ, { code: "EIO", done: "everything" }];
const GROW: readonly Fault[] = [...CHANGE, { code: "ENOSPC", done: "nothing" }];

/** Errors that the kernel gives, and whether the operation was done. A failed close is told nobody. */
export const FAULTS: Readonly<Record<OperationKind, readonly Fault[]>> = {
  read: READ,
  open: READ,
  list: READ,
  stat: READ,
  lock: READ,
  freeBytes: READ,
  close: [],
  remove: CHANGE,
  removeDirectory: CHANGE,
  chmod: CHANGE,
  truncate: CHANGE,
  sync: CHANGE,
  datasync: CHANGE,
  rename: GROW,
  link: GROW,
  makeDirectory: GROW,
  create: GROW,
  write: [...GROW, { code: "ENOSPC", done: "half" }, { done: "half" }],
};

/** Nothing is changed by it, whether it fails or not. */
export function isRead(kind: OperationKind): boolean {
  return FAULTS[kind] === READ;
}
