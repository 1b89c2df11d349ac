/** A journal on disk, written frame by frame: what a node would have left behind. */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Claim } from "../../../core/format/claim.ts";
import { encodeFrame, encodeSegmentHeader, type Frame } from "../../../core/format/frame.ts";
import { campaignTag, tokenSerial } from "../../../core/format/token.ts";
import { segmentPath } from "../../../core/store/journal-reader.ts";
import { journalId, type Mint } from "./mint.ts";

export function claimFrame(claim: Claim): Frame {
  return { type: "claim", serial: tokenSerial(claim.token), ...claim };
}

/** @returns the journal's directory */
export function writeJournal(
  dir: string,
  mint: Mint,
  shard: number,
  frames: readonly Frame[],
  id = journalId(shard),
): string {
  const journal = join(dir, `node-${shard}`);
  mkdirSync(journal, { recursive: true });
  const header = {
    journalId: id,
    campaignTag: campaignTag(mint.manifest.campaign),
    epoch: mint.manifest.epoch,
    shard,
    segment: 0,
    offset: 0,
    chain: 0,
  };
  const parts = [encodeSegmentHeader(header)];
  let [offset, chain] = [0, 0];
  for (const frame of frames) {
    const { bytes, crc } = encodeFrame(frame, id, offset, chain);
    parts.push(bytes);
    offset += bytes.length;
    chain = crc;
  }
  writeFileSync(segmentPath(journal, 0), Buffer.concat(parts));
  return journal;
}
