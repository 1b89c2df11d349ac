/**
 * Time as a node uses it: handed in, so that tests and experiments hold the clock.
 */
export interface Clock {
  /** Milliseconds since 1970, as the show's times. */
  wallMs(): number;
  /** Milliseconds that never jump. */
  monotonicMs(): number;
  /** Calls back after at least `ms`. @returns how to call it off */
  after(ms: number, call: () => void): () => void;
}

export const machineClock: Clock = {
  wallMs: () => Date.now(),
  monotonicMs: () => performance.now(),
  after: (ms, call) => {
    const timer = setTimeout(call, ms);
    return () => clearTimeout(timer);
  },
};
