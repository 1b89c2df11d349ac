/**
 * Seed files are stolen, without any key: nothing in them opens, no key lies in or beside them, and what is sealed says
 * nothing about its amount: not its bytes, not its serial, not its place in the file.
 */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { keyBytes } from "../../../core/format/keyfile.ts";
import { shardKey, shardKeys } from "../../../core/format/keyring.ts";
import { seedLayout } from "../../../core/format/seedfile.ts";
import { SEALED_AT, TOKEN_BYTES, type TokenScope, tokenSerial } from "../../../core/format/token.ts";
import { BULK_TOKENS_MAX, packetColumns, TokenBulk } from "../../../core/format/token-bulk.ts";
import { readKeyFile } from "../../../core/store/keystore.ts";
import { readManifest } from "../../../core/store/manifest-file.ts";
import { type Experiment, Violations } from "../experiment.ts";
import { lootNode, lootSeeds } from "../forgery/loot.ts";
import { MintsDir } from "../forgery/mints.ts";
import { evenScore, groupScore, rankScore, ranks } from "../forgery/ranks.ts";
import { type SeededRandom, seededRandom } from "../random.ts";
import type { Minted } from "../stage/minted.ts";

/** Standard deviations. By chance, one of some three hundred scores is above it once in a million runs. */
const SCORE_MAX = 6;
const CLASSES = 4;
const WRONG_KEYS = 8;
const CIPHER_BYTES = TOKEN_BYTES - SEALED_AT;

export const experiment: Experiment = {
  claim: "stolen seed files without keys: nothing opens, and nothing tells a large amount from a small one",
  trials: { unit: "packets", short: 60_000, full: 1_000_000 },
  run: async ({ trials, seed, note }) => {
    const dir = new MintsDir();
    const violations = new Violations();
    try {
      // The seed makes the master key, and that one the whole mint: the same seed measures the same bytes.
      const random = seededRandom(seed);
      const master = random.bytes(32);
      const terms = { packets: 2 * trials, budgetCents: 300 * 2 * trials };
      const minted = await dir.mint(terms, master);
      const richer = await dir.mint({ ...terms, campaign: "riches", budgetCents: 900 * 2 * trials });
      const tokens = await lootSeeds(minted.epochDir, 0);
      note(`${tokens.length} packets stolen`);
      await expectSameShape(minted, richer, violations);
      await expectNoKeys(minted, violations);
      const tried = await expectNothingOpens(minted, tokens, random, violations);
      const scores = scoresOf(tokens, await amountsOf(minted, tokens, violations), note);
      for (const [name, score] of Object.entries(scores))
        violations.expect(
          Math.abs(score) < SCORE_MAX,
          `${name} tells of the amount: ${score.toFixed(1)} standard deviations`,
        );
      const largest = Math.max(...Object.values(scores).map(Math.abs));
      const figures = {
        scores: Object.keys(scores).length,
        largestScore: Number(largest.toFixed(2)),
        boundOfScores: SCORE_MAX,
        triedWithoutKey: tried,
      };
      return { trials: tokens.length, violations, figures };
    } finally {
      dir.remove();
    }
  },
};

/** Three times the money in the same packets is the same file, but for what is sealed: sizes tell only counts. */
async function expectSameShape(minted: Minted, richer: Minted, violations: Violations): Promise<void> {
  const { manifest } = await readManifest(minted.epochDir);
  for (const { shard, lanes } of manifest.shards) {
    const [one, other] = [minted, richer].map(({ epochDir }) => readFileSync(epochDir.seed(shard)));
    if (one === undefined || other === undefined) return;
    const { fileBytes, headerBytes } = seedLayout(lanes);
    violations.expect(one.length === fileBytes, `shard ${shard} has ${one.length} bytes`);
    violations.expect(one.length === other.length, `shard ${shard} is longer with more money in it`);
    // Behind the magic number and the campaign's tag.
    const same = one.subarray(12, headerBytes).equals(other.subarray(12, headerBytes));
    violations.expect(same, `shard ${shard}'s header and lane table change with the money`);
  }
}

/** No key of any key file stands in any file beside the seeds, in any usual spelling. */
async function expectNoKeys(minted: Minted, violations: Violations): Promise<void> {
  const secrets: [string, Uint8Array][] = [];
  const { epochDir } = minted;
  const settlement = await readKeyFile("settlement", epochDir.settlementKey);
  const root = keyBytes(settlement.tokenRoot);
  secrets.push(["master", keyBytes((await readKeyFile("master", epochDir.of.masterKey)).master)]);
  secrets.push(["settlement", keyBytes(settlement.settlementKey)], ["token root", root]);
  secrets.push(["operator", keyBytes((await readKeyFile("signing", epochDir.of.operatorKey)).privateKey)]);
  for (const shard of [0, 1]) {
    const key = shardKey(root, shard);
    const { keys, quotaKey } = await lootNode(epochDir, shard);
    secrets.push(
      ["shard", key],
      ["quota", quotaKey],
      ["token", keys.token],
      ["receipt", keys.receipt],
      ["wire", keys.wire],
    );
  }
  for (const name of readdirSync(epochDir.seedsDir)) {
    const bytes = readFileSync(join(epochDir.seedsDir, name));
    for (const [what, secret] of secrets)
      for (const spelling of spellings(secret))
        violations.expect(!bytes.includes(spelling), `${name} holds the ${what} key`);
  }
}

function spellings(secret: Uint8Array): (Buffer | string)[] {
  const bytes = Buffer.from(secret);
  return [bytes, bytes.toString("hex"), bytes.toString("base64").slice(0, 42), bytes.toString("base64url")];
}

/** Keys that a thief can think of. @returns openings tried */
async function expectNothingOpens(
  minted: Minted,
  tokens: readonly Buffer[],
  random: SeededRandom,
  violations: Violations,
): Promise<number> {
  const { scope, keys } = await lootNode(minted.epochDir, 0);
  const other = await lootNode(minted.epochDir, 1);
  const guesses: Uint8Array[] = Array.from({ length: WRONG_KEYS }, () => random.bytes(32));
  guesses.push(new Uint8Array(32), shardKeys(new Uint8Array(32)).token);
  guesses.push(other.keys.token, keys.receipt, keys.wire, other.quotaKey);
  for (const guess of guesses) {
    const opened = openAll(guess, scope, tokens).filter((cents) => cents !== undefined).length;
    violations.expect(opened === 0, `${opened} tokens open under a key that is not the shard's`);
  }
  return guesses.length * tokens.length;
}

/** What only the right key tells: to hold everything that can be seen without it against. */
async function amountsOf(
  minted: Minted,
  tokens: readonly Buffer[],
  violations: Violations,
): Promise<number[]> {
  const { scope, keys } = await lootNode(minted.epochDir, 0);
  const amounts = openAll(keys.token, scope, tokens).filter((cents) => cents !== undefined);
  violations.expect(amounts.length === tokens.length, "the right key does not open all tokens");
  return amounts;
}

/** @returns the cents of each token, undefined where the key does not open it */
function openAll(key: Uint8Array, scope: TokenScope, tokens: readonly Buffer[]): (number | undefined)[] {
  const bulk = new TokenBulk(key, scope);
  const columns = packetColumns(BULK_TOKENS_MAX);
  const cents: (number | undefined)[] = [];
  for (let at = 0; at < tokens.length; at += BULK_TOKENS_MAX) {
    const some = tokens.slice(at, at + BULK_TOKENS_MAX);
    bulk.open(Buffer.concat(some), some.length, columns);
    for (let i = 0; i < some.length; i++) cents.push(columns.valid[i] === 1 ? columns.cents[i] : undefined);
  }
  return cents;
}

function scoresOf(
  tokens: readonly Buffer[],
  cents: readonly number[],
  note: (text: string) => void,
): Record<string, number> {
  const rankOf = ranks(cents);
  const scores: Record<string, number> = {
    "the serial": rankScore(tokens.map(tokenSerial), cents),
    "the ciphertext as a number": rankScore(
      tokens.map((token) => token.readUInt32BE(SEALED_AT)),
      cents,
    ),
    "the tag as a number": rankScore(
      tokens.map((token) => token.readUInt32BE(TOKEN_BYTES - 4)),
      cents,
    ),
    ...placeScores(cents),
  };
  note("ranks compared");
  for (let bit = 0; bit < CIPHER_BYTES * 8; bit++) {
    const [at, mask] = [SEALED_AT + (bit >>> 3), 1 << (bit & 7)];
    scores[`bit ${bit} of what is sealed`] = groupScore(rankOf, (i) => ((tokens[i]?.[at] ?? 0) & mask) !== 0);
  }
  for (let one = 0; one < CLASSES; one++)
    scores[`the bytes of class ${one}`] = bytesScore(
      tokens,
      (i) => classOf(rankOf[i] ?? 0, cents.length) === one,
    );
  return scores;
}

/** By the place in the file, in each lane: an ad may have larger amounts than another, and its lane is public. */
function placeScores(cents: readonly number[]): Record<string, number> {
  const half = Math.floor(cents.length / 2);
  const places = cents.map((_, place) => place);
  const before = cents.slice(0, -1);
  return {
    "the place": rankScore(places, cents),
    "the place in the first half": rankScore(places.slice(0, half), cents.slice(0, half)),
    "the packet before it": rankScore(before, cents.slice(1)),
  };
}

function bytesScore(tokens: readonly Buffer[], isMember: (i: number) => boolean): number {
  const counts = new Uint32Array(256);
  for (const [i, token] of tokens.entries())
    if (isMember(i))
      for (let at = SEALED_AT; at < TOKEN_BYTES; at++) {
        const byte = token[at] ?? 0;
        counts[byte] = (counts[byte] ?? 0) + 1;
      }
  return evenScore(counts);
}

function classOf(rank: number, packets: number): number {
  return Math.min(CLASSES - 1, Math.floor(((rank - 1) / packets) * CLASSES));
}
