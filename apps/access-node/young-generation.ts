/**
 * The young generation of V8's heap. Once it is full, what is still in use of it is copied while everybody waits: next
 * to nothing where requests come and are answered, but 10 ms where strangers open a thousand connections meanwhile, or
 * send half of their bodies. So it is collected as soon as so much has come that the wait is a millisecond or two.
 */
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";

/** What a connection with half a request keeps in use, all told. */
export const CONNECTION_BYTES = 32 * 1024;
const COLLECTED_BYTES = 1024 * 1024;

class YoungGeneration {
  private readonly collect: ((options: { readonly type: "minor" }) => void) | undefined;
  private cameBytes = 0;

  constructor() {
    // V8 shows its collector to contexts that are made from now on, so not to this one.
    setFlagsFromString("--expose-gc");
    this.collect = runInNewContext("globalThis.gc");
  }

  /** Something has come that may be in use for longer than it takes to answer a request. */
  came(bytes: number): void {
    this.cameBytes += bytes;
    if (this.cameBytes < COLLECTED_BYTES) return;
    this.cameBytes = 0;
    this.collect?.({ type: "minor" });
  }
}

/** A process has one heap. */
export const youngGeneration = new YoungGeneration();
