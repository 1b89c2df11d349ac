/**
 * Money is a whole number of cents. A `Cents` is a safe integer; every sum asserts that it still is one, so a
 * rounding float can never stand for money.
 */
import { invariant } from "./error.ts";

export type Cents = number & { readonly __unit: "cents" };

/** Largest amount of one packet: the sealed field is an unsigned 32-bit integer. */
export const PACKET_CENTS_MAX = 0xffff_ffff;

/** @returns `value` as cents; asserts a safe, non-negative integer. */
export function cents(value: number): Cents {
  invariant(Number.isSafeInteger(value) && value >= 0, `${value} is not an amount in cents`);
  return value as Cents;
}

export function addCents(a: Cents, b: Cents): Cents {
  return cents(a + b);
}

/** "88888.00" for 8888800: for people only; data always carries integer cents. */
export function formatCents(amount: number): string {
  const sign = amount < 0 ? "-" : "";
  const whole = Math.floor(Math.abs(amount) / 100).toString();
  const fraction = (Math.abs(amount) % 100).toString().padStart(2, "0");
  return `${sign}${whole.replace(/\B(?=(\d{3})+$)/g, ",")}.${fraction}`;
}
