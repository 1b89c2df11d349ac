/**
 * Waiting for a growing offset: promises that resolve, in order, as the offset passes them. Everyone who waits
 * for the same offset shares one promise, so a group commit wakes its group once.
 */

interface Waiter {
  readonly offset: number;
  readonly promise: Promise<void>;
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
}

export class OffsetGate {
  private passed: number;
  private failure: Error | undefined;
  /** Ascending by offset. */
  private waiters: Waiter[] = [];

  constructor(reached: number) {
    this.passed = reached;
  }

  get reached(): number {
    return this.passed;
  }

  /** Resolves once the gate has reached `offset`; rejects once it failed. */
  wait(offset: number): Promise<void> {
    if (offset <= this.passed) return Promise.resolve();
    if (this.failure) return Promise.reject(this.failure);
    const at = this.waiters.findLastIndex((waiter) => waiter.offset <= offset);
    const before = this.waiters[at];
    if (before?.offset === offset) return before.promise;
    const waiter = newWaiter(offset);
    this.waiters.splice(at + 1, 0, waiter);
    return waiter.promise;
  }

  advance(offset: number): void {
    if (offset <= this.passed || this.failure) return;
    this.passed = offset;
    const done = this.waiters.findLastIndex((waiter) => waiter.offset <= offset) + 1;
    for (const waiter of this.waiters.splice(0, done)) waiter.resolve();
  }

  fail(error: Error): void {
    this.failure ??= error;
    for (const waiter of this.waiters.splice(0)) waiter.reject(error);
  }
}

function newWaiter(offset: number): Waiter {
  let resolve: () => void = () => {};
  let reject: (error: Error) => void = () => {};
  const promise = new Promise<void>((ok, failed) => {
    resolve = ok;
    reject = failed;
  });
  return { offset, promise, resolve, reject };
}
