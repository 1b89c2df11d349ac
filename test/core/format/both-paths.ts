/** A token as the reference and the bulk path open it: whatever a test says of one it says of both. */
import { type Packet, TOKEN_BYTES, type TokenScope, tokenOpener } from "../../../core/format/token.ts";
import { packetColumns, TokenBulk } from "../../../core/format/token-bulk.ts";

export function bothOpen(key: Uint8Array, scope: TokenScope, token: Uint8Array): (Packet | undefined)[] {
  const out = packetColumns(1);
  const padded = Buffer.alloc(TOKEN_BYTES);
  padded.set(token.subarray(0, TOKEN_BYTES));
  new TokenBulk(key, scope).open(padded, 1, out);
  const bulk =
    out.valid[0] === 1 && token.length === TOKEN_BYTES
      ? {
          serial: out.serials[0] ?? 0,
          cents: out.cents[0] ?? 0,
          ad: out.ads[0] ?? 0,
          checksum: out.checksums,
        }
      : undefined;
  return [tokenOpener(key, scope)(token), bulk];
}
