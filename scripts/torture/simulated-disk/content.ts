/**
 * The bytes of a file, shared between copies until one of them is changed: a crash state costs no copy of what it
 * leaves alone. What was never written reads as zeros.
 */
const BYTES_FIRST = 256;

export class Content {
  private bytes: Buffer;
  private length: number;
  /** Whether nobody else looks at `bytes`. */
  private own = false;

  /** @param bytes are not changed */
  constructor(bytes: Uint8Array = new Uint8Array(0)) {
    this.bytes = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.length = bytes.length;
  }

  get size(): number {
    return this.length;
  }

  copy(): Content {
    this.own = false;
    return new Content(this.bytes.subarray(0, this.length));
  }

  /** @returns bytes read: 0 at the end and behind it */
  read(into: Uint8Array, at: number, length: number, position: number): number {
    const from = this.bytes.subarray(
      Math.min(position, this.length),
      Math.min(position + length, this.length),
    );
    into.set(from, at);
    return from.length;
  }

  write(bytes: Uint8Array, position: number): void {
    if (bytes.length === 0) return;
    this.reserve(Math.max(this.length, position + bytes.length));
    this.bytes.set(bytes, position);
    this.length = Math.max(this.length, position + bytes.length);
  }

  /** Cuts, or extends with zeros. */
  truncate(bytes: number): void {
    this.reserve(Math.max(this.length, bytes));
    if (bytes < this.length) this.bytes.fill(0, bytes, this.length);
    this.length = bytes;
  }

  /** Behind `length` there are zeros, always. */
  private reserve(bytes: number): void {
    if (this.own && bytes <= this.bytes.length) return;
    const grown = bytes > this.bytes.length ? Math.max(BYTES_FIRST, 2 * bytes) : bytes;
    const room = Buffer.alloc(grown);
    this.bytes.copy(room, 0, 0, this.length);
    this.bytes = room;
    this.own = true;
  }
}
