/**
 * Reads a shard's seed file into its books: every token is opened, so every amount is the sealed one. The file
 * is held against the manifest block by block (Merkle root) and lane by lane (count, sum, ad, no serial twice).
 *
 * Damage is a finding that names the place, not the end of the report: what the other blocks hold is still true.
 * A file that is not there at all is a missing input, and refused.
 */
import { basename } from "node:path";
import { HongbaoError } from "../../core/format/error.ts";
import type { Manifest, ManifestShard } from "../../core/format/manifest.ts";
import { formatCents } from "../../core/format/money.ts";
import { BLOCK_RECORDS, type LaneLayout } from "../../core/format/seedfile.ts";
import { TOKEN_BYTES } from "../../core/format/token.ts";
import { SeedReader } from "../../core/store/seed-reader.ts";
import type { Findings } from "./findings.ts";
import type { ShardBooks } from "./shard-books.ts";
import type { ShardOpener } from "./shard-opener.ts";

/** @throws HongbaoError `missing_file`, `unreadable_file` */
export async function readSeeds(
  path: string,
  of: { readonly manifest: Manifest; readonly shard: ManifestShard },
  opener: ShardOpener,
  books: ShardBooks,
  findings: Findings,
): Promise<void> {
  const reader = await whole(findings, () => SeedReader.open(path, of.manifest, of.shard));
  if (reader === undefined) return;
  try {
    for (const [lane, layout] of reader.layout.lanes.entries()) {
      const faults = await readLane(reader, basename(path), lane, layout, opener, books, findings);
      if (faults === 0) checkLane(basename(path), lane, of.shard, books, findings);
    }
  } finally {
    await reader.close();
  }
}

/** @returns how many blocks of the lane have a fault. */
async function readLane(
  reader: SeedReader,
  file: string,
  lane: number,
  layout: LaneLayout,
  opener: ShardOpener,
  books: ShardBooks,
  findings: Findings,
): Promise<number> {
  let faults = 0;
  for (let block = 0; block < layout.blocks; block++) {
    const bytes = await whole(findings, () => reader.readBlock(layout, block));
    const refused = bytes ? readBlock(bytes, lane, block, layout.ad, opener, books) : 0;
    if (refused > 0)
      findings.add(
        "corrupt",
        undefined,
        `${file}: ${refused} records in block ${block} of ad ${layout.ad} are not packets of this shard, or repeat one`,
      );
    if (bytes === undefined || refused > 0) faults++;
  }
  return faults;
}

/** @returns how many of the block's records are not what the mint must have written there. */
function readBlock(
  bytes: Buffer,
  lane: number,
  block: number,
  ad: number,
  opener: ShardOpener,
  books: ShardBooks,
): number {
  const records = bytes.length / TOKEN_BYTES;
  const { columns, verdict } = opener.open(bytes, records);
  let refused = 0;
  for (let i = 0; i < records; i++) {
    const place = books.at(lane, block * BLOCK_RECORDS + i);
    const fits =
      place !== undefined &&
      verdict(i) === "genuine" &&
      columns.ads[i] === ad &&
      books.name(place, columns.serials[i] ?? 0);
    if (fits) books.seal(place, columns.cents[i] ?? 0);
    else refused++;
  }
  return refused;
}

function checkLane(
  file: string,
  lane: number,
  shard: ManifestShard,
  books: ShardBooks,
  findings: Findings,
): void {
  const promised = shard.lanes[lane];
  const first = books.at(lane, 0);
  if (promised === undefined || first === undefined) return;
  let cents = 0;
  for (let place = first; place < first + promised.packets; place++) cents += books.centsOf(place);
  if (cents === promised.cents) return;
  findings.add(
    "amount-mismatch",
    undefined,
    `${file}: the tokens of ad ${promised.ad} hold ${formatCents(cents)}, the manifest says ${formatCents(promised.cents)}`,
  );
}

/** Runs a read; damage of the file becomes a finding, everything else stays an error. */
async function whole<T>(findings: Findings, read: () => Promise<T>): Promise<T | undefined> {
  try {
    return await read();
  } catch (error) {
    if (!(error instanceof HongbaoError) || error.code !== "invalid_seed_file") throw error;
    findings.add("corrupt", undefined, error.message);
    return undefined;
  }
}
