/**
 * Buffers that are lent again and again. New ones for every body that may be large would have V8 collect its whole
 * heap several times a second while strangers send half of such bodies, and everybody waits meanwhile.
 */
export class BufferPool {
  private readonly bytes: number;
  private readonly free: Buffer[] = [];

  /** @param bytes of each buffer */
  constructor(bytes: number) {
    this.bytes = bytes;
  }

  /** Nobody may hold on to the buffer behind the end of `use`; it comes with what others left in it. */
  async lend<T>(use: (buffer: Buffer) => Promise<T>): Promise<T> {
    const buffer = this.free.pop() ?? Buffer.allocUnsafeSlow(this.bytes);
    try {
      return await use(buffer);
    } finally {
      this.free.push(buffer);
    }
  }
}
