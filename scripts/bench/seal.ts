/**
 * What sealing and opening a token costs: our bulk path against @noble/ciphers (our reference path) and against
 * one OpenSSL cipher object a token, in the same run, in CPU time.
 *
 *     node dist/scripts/bench/seal.js [TOKENS]        default 200000; prints one JSON line
 */
import { execFileSync } from "node:child_process";
import { createCipheriv, randomBytes } from "node:crypto";
import { cpus } from "node:os";
import { sealToken, TOKEN_BYTES, tokenAad, tokenNonce, tokenOpener } from "../../core/format/token.ts";
import { BULK_TOKENS_MAX, packetColumns, TokenBulk } from "../../core/format/token-bulk.ts";

const ROUNDS = 5;
/** noble is slow enough that a tenth of the tokens tells as much. */
const REFERENCE_SHARE = 10;

const tokens = Number(process.argv[2] ?? 200_000);
const scope = { campaign: "bench", mode: "test" as const, epoch: 1, shard: 0, packets: 0xffff_ffff };
const key = randomBytes(32);
const checksum = new Uint8Array(6);

const columns = packetColumns(BULK_TOKENS_MAX);
const batch = Buffer.alloc(BULK_TOKENS_MAX * TOKEN_BYTES);
const bulk = new TokenBulk(key, scope);
const opener = tokenOpener(key, scope);
const sample = sealToken(key, scope, { serial: 7, cents: 888, ad: 1, checksum });
bulk.seal(columns, BULK_TOKENS_MAX, batch);

const perToken = {
  bulkSeal: cpuNs(tokens, (n) => batches(n, () => bulk.seal(columns, BULK_TOKENS_MAX, batch))),
  bulkOpen: cpuNs(tokens, (n) => batches(n, () => bulk.open(batch, BULK_TOKENS_MAX, columns))),
  nobleSeal: cpuNs(tokens / REFERENCE_SHARE, (n) => {
    for (let serial = 0; serial < n; serial++) sealToken(key, scope, { serial, cents: 888, ad: 1, checksum });
  }),
  nobleOpen: cpuNs(tokens / REFERENCE_SHARE, (n) => {
    for (let i = 0; i < n; i++) opener(sample);
  }),
  opensslSeal: cpuNs(tokens / REFERENCE_SHARE, (n) => {
    const aad = tokenAad(scope.campaign, scope.mode);
    const plain = Buffer.alloc(16);
    for (let serial = 0; serial < n; serial++) {
      const cipher = createCipheriv("aes-256-gcm", key, tokenNonce(scope, serial)).setAAD(aad);
      cipher.update(plain);
      cipher.final();
      cipher.getAuthTag();
    }
  }),
};
const figures = {
  bench: "seal",
  machine: `${cpus()[0]?.model ?? "unknown"} x${cpus().length}, Node ${process.versions.node}`,
  commit: execFileSync("git", ["rev-parse", "--short", "HEAD"], { encoding: "utf8" }).trim(),
  cpuNanosecondsPerToken: perToken,
  ratio: {
    nobleSealToBulk: round(perToken.nobleSeal / perToken.bulkSeal),
    nobleOpenToBulk: round(perToken.nobleOpen / perToken.bulkOpen),
    opensslSealToBulk: round(perToken.opensslSeal / perToken.bulkSeal),
  },
};
process.stdout.write(`${JSON.stringify(figures)}\n`);

function batches(n: number, run: () => void): void {
  for (let done = 0; done < n; done += BULK_TOKENS_MAX) run();
}

/** CPU nanoseconds an operation, the median of some rounds: machines are shared, wall time is noise. */
function cpuNs(operations: number, run: (operations: number) => void): number {
  const rounds: number[] = [];
  for (let i = 0; i <= ROUNDS; i++) {
    const before = process.cpuUsage();
    run(operations);
    const { user, system } = process.cpuUsage(before);
    if (i > 0) rounds.push(((user + system) * 1000) / operations);
  }
  return Math.round(rounds.sort((a, b) => a - b)[Math.floor(ROUNDS / 2)] ?? 0);
}

function round(value: number): number {
  return Math.round(value * 10) / 10;
}
