/**
 * Key files, one per audience, each with just what its audience needs:
 *
 *     master.key       operator's vault: mints everything
 *     node-NNNN.key    one access node: its shards' keys, the quota key, the public keys it trusts
 *     settlement.key   worker and finance: settlement key and token root
 *     <role>.key       an Ed25519 signing key of operator or approver
 *
 * Keys are 32 bytes in base64url. A parse error names the file and the field, never a value. Each file ends with a
 * check over all of it: a flipped bit is still a key, and a worker with a flipped settlement key would refuse every
 * honest claim for good.
 */
import { createHash } from "node:crypto";
import { z } from "zod";
import { CAMPAIGN_ID } from "./campaign.ts";
import { HongbaoError } from "./error.ts";
import { canonicalJson } from "./json.ts";
import { ROLES } from "./signature.ts";

const key = z
  .string()
  .regex(/^[A-Za-z0-9_-]{43}$/, "must be 32 bytes in base64url")
  .refine(
    (text) => Buffer.from(text, "base64url").toString("base64url") === text,
    "is not canonical base64url",
  );
const u16 = z.int().min(0).max(0xffff);
const campaign = { campaign: z.string().regex(CAMPAIGN_ID), mode: z.enum(["test", "live"]) };
const mint = { ...campaign, epoch: u16, planHash: key };
const publicKeys = z.strictObject({ operator: key, approver: key.optional() });

const masterKeyFile = z.strictObject({
  format: z.literal("hongbao.master-key.v1"),
  ...campaign,
  master: key,
});
const nodeKeyFile = z.strictObject({
  format: z.literal("hongbao.node-key.v1"),
  ...mint,
  shards: z
    .array(z.strictObject({ shard: u16, key }))
    .min(1)
    .max(256),
  quotaKey: key,
  publicKeys,
});
const settlementKeyFile = z.strictObject({
  format: z.literal("hongbao.settlement-key.v1"),
  ...mint,
  settlementKey: key,
  tokenRoot: key,
  publicKeys,
});
const signingKeyFile = z.strictObject({
  format: z.literal("hongbao.signing-key.v1"),
  role: z.enum(ROLES),
  publicKey: key,
  privateKey: key,
});

const schemas = {
  master: masterKeyFile,
  node: nodeKeyFile,
  settlement: settlementKeyFile,
  signing: signingKeyFile,
};
type Schemas = typeof schemas;
export type KeyFileKind = keyof Schemas;
export type KeyFile<K extends KeyFileKind> = z.output<Schemas[K]>;

/**
 * @param name the file's name, for the sentence of a refusal
 * @throws HongbaoError `invalid_key_file`
 */
export function parseKeyFile<K extends KeyFileKind>(kind: K, text: string, name: string): KeyFile<K> {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    // The cause would quote the text, which may be a key.
    throw new HongbaoError(
      "invalid_key_file",
      `${name} is not a ${kind} key file, it is not JSON: install it again`,
    );
  }
  const { check, ...content } =
    typeof value === "object" && value !== null ? (value as { check?: unknown }) : {};
  const result = schemas[kind].safeParse(content);
  if (result.success && check === checkOf(content)) return result.data as KeyFile<K>;
  if (result.success)
    throw new HongbaoError(
      "invalid_key_file",
      `${name} is damaged, its check does not hold: install the ${kind} key file again`,
    );
  const places = new Set(result.error.issues.map((issue) => issue.path.join(".") || "unknown keys"));
  throw new HongbaoError(
    "invalid_key_file",
    `${name} is not a valid ${kind} key file (${[...places].join(", ")}): install the right one`,
  );
}

export function formatKeyFile<K extends KeyFileKind>(file: KeyFile<K>): string {
  return `${canonicalJson({ ...file, check: checkOf(file) })}\n`;
}

/** Against accidents only: whoever can write the file can write its check. */
function checkOf(file: object): string {
  return createHash("sha256").update(canonicalJson(file)).digest("hex").slice(0, 16);
}

export function keyBytes(text: string): Buffer {
  return Buffer.from(text, "base64url");
}

export function keyText(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("base64url");
}
