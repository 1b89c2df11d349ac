/**
 * Names (users, devices, Idempotency-Keys, passes) as numbers of 48 bits, so that a million of them fit in a column;
 * and a table from such numbers to packets, in two columns that double. 0 stands for nobody.
 */
import { createHash } from "node:crypto";

export function nameHash(...texts: readonly string[]): number {
  const hash = createHash("sha256");
  for (const text of texts) hash.update(`${text.length}:`).update(text);
  return hash.digest().readUIntBE(0, 6) || 1;
}

export class NameTable {
  private names = new Float64Array(1024);
  private numbers = new Uint32Array(1024);
  private used = 0;

  /** @returns the number that stands under `name`; `number` itself if it is put there now */
  put(name: number, number: number): number {
    if (this.used * 2 > this.names.length) this.grow();
    const slot = this.slotOf(name);
    if (this.names[slot] !== 0) return this.numbers[slot] ?? 0;
    this.used++;
    this.names[slot] = name;
    this.numbers[slot] = number;
    return number;
  }

  get(name: number): number | undefined {
    const slot = this.slotOf(name);
    return this.names[slot] === 0 ? undefined : this.numbers[slot];
  }

  private slotOf(name: number): number {
    const mask = this.names.length - 1;
    let slot = (name % 0x1_0000_0000) & mask;
    while (this.names[slot] !== 0 && this.names[slot] !== name) slot = (slot + 1) & mask;
    return slot;
  }

  private grow(): void {
    const { names, numbers } = this;
    this.names = new Float64Array(names.length * 2);
    this.numbers = new Uint32Array(names.length * 2);
    for (const [slot, name] of names.entries()) {
      if (name === 0) continue;
      const to = this.slotOf(name);
      this.names[to] = name;
      this.numbers[to] = numbers[slot] ?? 0;
    }
  }
}
