/**
 * Looks for a campaign's secrets in whatever its programs say: every key of the key files and every key derived from
 * them, in each spelling that a slip would give it, and anything that is a token or a pass of the campaign, handed
 * out or not. User names are no secret here.
 */
import { existsSync, readFileSync } from "node:fs";
import { keyBytes, parseKeyFile } from "../../core/format/keyfile.ts";
import { mintKey, shardKey, shardKeys } from "../../core/format/keyring.ts";
import { type Manifest, parseManifest } from "../../core/format/manifest.ts";
import {
  campaignTag,
  decodeToken,
  readTokenNonce,
  TOKEN_BYTES,
  TOKEN_HEADER,
} from "../../core/format/token.ts";
import type { EpochDir } from "../../core/store/campaign-dir.ts";

/** Texts come in pieces: so much of the end waits for the next one, longer than any secret. */
const HELD_CHARS = 512;
const START_CHARS = 4;
const PASS_VERSION = 1;
const PASS_HEAD_BYTES = 11;
const PASS_MAC_BYTES = 32;

/** @returns what begins at `at` of the text, in words, or undefined */
type Look = (text: string, at: number) => string | undefined;

export class SecretSearch {
  charsSearched = 0;
  private readonly found: (what: string) => void;
  private readonly looks = new Map<string, Look[]>();
  private readonly starts = new Uint8Array(0x1_0000);
  private readonly held = new Map<string, string>();

  /** @param found told for each secret that was seen: which one, and who said it */
  constructor(epoch: EpochDir, found: (what: string) => void) {
    this.found = found;
    const manifest = parseManifest(readFileSync(epoch.manifest), epoch.manifest);
    for (const { name, key } of keysOf(epoch, manifest))
      for (const { form, text } of spellings(key))
        this.add(text, (all, at) => (all.startsWith(text, at) ? `${name} as ${form}` : undefined));
    this.addTokens(manifest);
    this.addPasses(manifest);
  }

  /** @param source who said it: pieces of one source are one text */
  hear(source: string, said: string | Uint8Array): void {
    const more = typeof said === "string" ? said : Buffer.from(said).toString("latin1");
    this.charsSearched += more.length;
    const text = (this.held.get(source) ?? "") + more;
    const end = Math.max(0, text.length - HELD_CHARS);
    this.search(source, text, end);
    this.held.set(source, text.slice(end));
  }

  /** Nothing more comes: looks through what was held back. */
  end(): void {
    for (const [source, text] of this.held) this.search(source, text, text.length);
    this.held.clear();
  }

  /** Looks for what begins in front of `end`. */
  private search(source: string, text: string, end: number): void {
    for (let at = 0; at < end; at++) {
      if (this.starts[startHash(text, at)] === 0) continue;
      for (const look of this.looks.get(text.slice(at, at + START_CHARS)) ?? []) {
        const what = look(text, at);
        if (what !== undefined) this.found(`${what}, said by ${source}`);
      }
    }
  }

  private add(start: string, look: Look): void {
    const first = start.slice(0, START_CHARS);
    this.starts[startHash(first, 0)] = 1;
    this.looks.set(first, [...(this.looks.get(first) ?? []), look]);
  }

  /** A token begins with its header and the campaign's tag. */
  private addTokens({ campaign, epoch }: Manifest): void {
    const start = Buffer.alloc(6);
    start.writeUInt8(TOKEN_HEADER, 0);
    start.writeUInt32BE(campaignTag(campaign), 1);
    const isOurs = (bytes: Uint8Array | undefined) => {
      const named = bytes?.[0] === TOKEN_HEADER ? readTokenNonce(bytes) : undefined;
      return named?.campaignTag === campaignTag(campaign) && named.epoch === epoch;
    };
    const spelled = TOKEN_BYTES * 2;
    this.add(start.toString("base64url"), (text, at) =>
      isOurs(decodeToken(text.slice(at, at + 60))) ? "a token" : undefined,
    );
    this.add(start.toString("hex"), (text, at) => {
      const hex = text.slice(at, at + spelled);
      return /^[0-9a-f]{90}$/.test(hex) && isOurs(Buffer.from(hex, "hex")) ? "a token as hex" : undefined;
    });
  }

  /** A pass begins with version and epoch, three bytes and so four characters; then it must have a pass's form. */
  private addPasses({ epoch, shards }: Manifest): void {
    const start = Buffer.from([PASS_VERSION, epoch >> 8, epoch & 0xff]).toString("base64url");
    this.add(start, (text, at) => {
      const run = /^[A-Za-z0-9_-]{58,}/.exec(text.slice(at, at + HELD_CHARS))?.[0];
      const bytes = Buffer.from(run ?? "", "base64url");
      if (bytes.length < PASS_HEAD_BYTES + PASS_MAC_BYTES) return undefined;
      const shard = shards[bytes.readUInt16BE(3)];
      const entries = bytes.readUInt16BE(9);
      const isPass =
        shard !== undefined &&
        bytes.readUInt32BE(5) < shard.packets &&
        bytes.length >= Math.min(PASS_HEAD_BYTES + entries * 8 + PASS_MAC_BYTES, HELD_CHARS / 2);
      return isPass ? "a pass" : undefined;
    });
  }
}

interface NamedKey {
  readonly name: string;
  readonly key: Buffer;
}

function keysOf(epoch: EpochDir, manifest: Manifest): NamedKey[] {
  const { masterKey, operatorKey } = epoch.of;
  const settlement = parseKeyFile("settlement", readFileSync(epoch.settlementKey, "utf8"), "settlement.key");
  const tokenRoot = keyBytes(settlement.tokenRoot);
  const keys: NamedKey[] = [
    { name: "the settlement key", key: keyBytes(settlement.settlementKey) },
    { name: "the token root", key: tokenRoot },
  ];
  if (existsSync(masterKey)) {
    const master = keyBytes(parseKeyFile("master", readFileSync(masterKey, "utf8"), "master.key").master);
    const { campaign, mode } = manifest;
    const identity = { campaign, mode, epoch: manifest.epoch, planHash: keyBytes(settlement.planHash) };
    keys.push({ name: "the master key", key: master });
    keys.push({ name: "the mint key", key: Buffer.from(mintKey(master, identity)) });
  }
  if (existsSync(operatorKey)) {
    const operator = parseKeyFile("signing", readFileSync(operatorKey, "utf8"), "operator.key");
    keys.push({ name: "the operator's key", key: keyBytes(operator.privateKey) });
  }
  for (const { shard } of manifest.shards) {
    const key = Buffer.from(shardKey(tokenRoot, shard));
    keys.push({ name: `the key of shard ${shard}`, key });
    for (const [use, derived] of Object.entries(shardKeys(key)))
      keys.push({ name: `the ${use} key of shard ${shard}`, key: Buffer.from(derived) });
  }
  const node = parseKeyFile("node", readFileSync(epoch.nodeKey(0), "utf8"), "node-0000.key");
  return [...keys, { name: "the quota key", key: keyBytes(node.quotaKey) }];
}

/** Every way in which a slip would write 32 bytes. */
function spellings(key: Buffer): { form: string; text: string }[] {
  const hex = key.toString("hex");
  const object = JSON.stringify(Object.fromEntries(key.entries()));
  const forms = [
    { form: "base64url", text: key.toString("base64url") },
    { form: "base64", text: key.toString("base64").replace("=", "") },
    { form: "hex", text: hex },
    { form: "upper-case hex", text: hex.toUpperCase() },
    { form: "spaced hex", text: hex.replace(/(..)(?!$)/g, "$1 ") },
    { form: "JSON numbers", text: key.join(",") },
    { form: "inspected numbers", text: key.join(", ") },
    { form: "a JSON object", text: object.slice(1, -1) },
    { form: "raw bytes", text: key.toString("latin1") },
  ];
  return forms.filter(({ text }, at) => forms.findIndex((other) => other.text === text) === at);
}

function startHash(text: string, at: number): number {
  let hash = 0;
  for (let i = 0; i < START_CHARS; i++) hash = (Math.imul(hash, 31) + text.charCodeAt(at + i)) & 0xffff;
  return hash;
}
