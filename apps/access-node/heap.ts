/**
 * V8's heap, told what a server's load is like. Everybody waits while garbage is collected, and strangers who open a
 * thousand connections, or send half of their bodies, leave a lot of it.
 *
 * Young generation: once it is full, what is still in use of it is copied. That is next to nothing where requests come
 * and are answered, but takes 10 ms where strangers came. So it is collected as soon as so much has come that the wait
 * is a millisecond or two.
 *
 * Old generation: what is made where much stayed in use before, V8 would put there at once (allocation-site
 * pretenuring). After an attack that goes for requests as well, so that every byte of every body waits for a collection of
 * the whole heap. So everything is born young.
 */
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";

/** What a connection with half a request keeps in use, all told. */
export const CONNECTION_BYTES = 32 * 1024;
const COLLECTED_BYTES = 1024 * 1024;

class Heap {
  private readonly collect: ((options: { readonly type: "minor" }) => void) | undefined;
  private cameBytes = 0;

  constructor() {
    setFlagsFromString("--no-allocation-site-pretenuring");
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

/** A process has one. */
export const heap = new Heap();
