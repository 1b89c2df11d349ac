/**
 * A walk of the checker's own over a journal's segments: every frame that is whole and continues the one before it.
 * It shares the frame codec with the programs, and nothing of their reader.
 */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import {
  DURABLE_MAGIC,
  decodeDurable,
  decodeFrame,
  decodeSegmentHeader,
  type Frame,
  SEGMENT_HEADER_BYTES,
} from "../../../core/format/frame.ts";

export interface JournalIdentity {
  readonly campaignTag: number;
  readonly epoch: number;
  readonly shard: number;
}

/** @param damage told once, in words, if the journal does not go on though it should */
export function* walkJournal(
  dir: string,
  identity: JournalIdentity,
  damage: (what: string) => void,
): Generator<Frame> {
  const names = existsSync(dir) ? readdirSync(dir).filter((name) => /^segment-\d{8}\.log$/.test(name)) : [];
  let [offset, chain] = [0, 0];
  let journalId: Buffer | undefined;
  for (const [segment, name] of names.sort().entries()) {
    const bytes = readFileSync(join(dir, name));
    const header = decodeSegmentHeader(bytes);
    journalId ??= header && Buffer.from(header.journalId);
    const continues =
      header?.segment === segment &&
      header.offset === offset &&
      header.chain === chain &&
      header.campaignTag === identity.campaignTag &&
      header.epoch === identity.epoch &&
      header.shard === identity.shard &&
      journalId?.equals(header.journalId);
    if (!continues || journalId === undefined) {
      damage(`${name} does not continue the journal`);
      return;
    }
    let at = SEGMENT_HEADER_BYTES;
    while (at < bytes.length) {
      const decoded = decodeFrame(bytes.subarray(at), journalId, offset, chain);
      if (decoded.state !== "frame") break;
      yield decoded.frame;
      [at, offset, chain] = [at + decoded.bytes, offset + decoded.bytes, decoded.crc];
    }
    // A torn tail may stand at the very end, and nothing that had been synced may be in it.
    if (at === bytes.length) continue;
    if (segment + 1 < names.length || syncedBehind(bytes.subarray(at), journalId) > offset) {
      damage(`${name} is damaged at byte ${at}`);
      return;
    }
  }
}

/** The furthest "durable up to" that is stated behind the damage. */
function syncedBehind(bytes: Buffer, journalId: Uint8Array): number {
  let furthest = 0;
  for (let at = bytes.indexOf(DURABLE_MAGIC); at >= 0; at = bytes.indexOf(DURABLE_MAGIC, at + 1))
    furthest = Math.max(furthest, decodeDurable(bytes.subarray(at), journalId)?.upTo ?? 0);
  return furthest;
}
