/**
 * The owner record beside a seed file: it names the one journal from which the shard may ever be served. Node and
 * finance read it; a node writes it once, when the shard is started for the first time.
 */
import { z } from "zod";
import { CAMPAIGN_ID } from "./campaign.ts";
import { canonicalJson } from "./json.ts";

const u16 = z.int().min(0).max(0xffff);
const ownerRecord = z.strictObject({
  format: z.literal("hongbao.owner.v1"),
  campaign: z.string().regex(CAMPAIGN_ID),
  epoch: u16,
  shard: u16,
  /** 16 bytes, hex */
  journalId: z.string().regex(/^[0-9a-f]{32}$/),
  /** Where it was started, for people. */
  host: z.string().max(255),
});

export type OwnerRecord = z.output<typeof ownerRecord>;

export function formatOwnerRecord(record: Omit<OwnerRecord, "format">): string {
  return `${canonicalJson({ format: "hongbao.owner.v1", ...record } satisfies OwnerRecord)}\n`;
}

/** @returns the record, or undefined if the text is none */
export function parseOwnerRecord(text: string): OwnerRecord | undefined {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return undefined;
  }
  return ownerRecord.safeParse(value).data;
}
