/**
 * Claims that a node never takes, written into its journal while it is stopped, as somebody who has the machine
 * could: a token with an amount of its own, one with a changed bit, a packet that somebody else was paid for, and
 * a packet too many for its holder. None is credited; each is remembered as refused, in a rebuilt ledger as well.
 */
import { readFileSync } from "node:fs";
import { keyBytes } from "../../../core/format/keyfile.ts";
import { shardKeys } from "../../../core/format/keyring.ts";
import { shardScope } from "../../../core/format/manifest.ts";
import { seedLayout } from "../../../core/format/seedfile.ts";
import { CHECKSUM_BYTES, sealToken, TOKEN_BYTES, tokenSerial } from "../../../core/format/token.ts";
import type { EpochDir } from "../../../core/store/campaign-dir.ts";
import { Journal } from "../../../core/store/journal.ts";
import { readMintKey } from "../../../core/store/keystore.ts";
import type { CreditRow } from "../../../core/store/ledger-reader.ts";
import { readManifest } from "../../../core/store/manifest-file.ts";

/** @param paid a credit of this shard; its holder may have no other packet of its ad */
export async function breakIn(epoch: EpochDir, paid: CreditRow): Promise<void> {
  const { shard } = paid;
  const { manifest } = await readManifest(epoch);
  const place = manifest.shards[shard];
  const file = await readMintKey("node", epoch.nodeKey(shard), manifest);
  const own = file.shards.find((each) => each.shard === shard);
  if (place === undefined || own === undefined) throw new Error(`the mint has no shard ${shard}`);
  const { token: tokenKey } = shardKeys(keyBytes(own.key));
  const scope = shardScope(manifest, place);
  const seeds = readFileSync(epoch.seed(shard));
  const tokens = seedLayout(place.lanes).lanes.flatMap((lane) =>
    Array.from({ length: lane.packets }, (_, i) => {
      const at = lane.recordsAt + i * TOKEN_BYTES;
      return { ad: lane.ad, token: seeds.subarray(at, at + TOKEN_BYTES) };
    }),
  );
  const taken = tokens.find(({ token }) => tokenSerial(token) === paid.serial)?.token;
  // From the end of the lane: nobody is given that one in a small show.
  const spare = tokens.findLast(({ ad }) => ad === paid.ad)?.token;
  if (taken === undefined || spare === undefined) throw new Error("the seed file lacks a packet");
  const serial = tokenSerial(spare);
  const unsettled = { serial, cents: 1_000, ad: paid.ad, checksum: new Uint8Array(CHECKSUM_BYTES) };
  const bent = Buffer.from(spare);
  bent[TOKEN_BYTES - 1] = (bent[TOKEN_BYTES - 1] ?? 0) ^ 1;
  const thief = { user: "thief", device: "phone", atMs: Date.parse("2026-06-01T00:00:00Z") };
  await append(epoch.node(shard), [
    { token: sealToken(tokenKey, scope, unsettled), ...thief },
    { token: bent, ...thief },
    { token: taken, ...thief },
    { token: spare, ...thief, user: paid.user, device: paid.device },
  ]);
}

async function append(
  dir: string,
  claims: readonly { token: Uint8Array; user: string; device: string; atMs: number }[],
): Promise<void> {
  const onFailure = (error: unknown) => {
    throw error;
  };
  const journal = await Journal.recover(dir, () => {}, { onFailure });
  for (const claim of claims) journal.append({ type: "claim", serial: tokenSerial(claim.token), ...claim });
  await journal.close();
}
