import { defineConfig } from "vitest/config";

/**
 * The tests that the mutants of `stryker.config.json` are held against: those of the mutated files that are over in
 * moments, because each of them runs for every mutant that it meets.
 */
export default defineConfig({
  test: {
    include: [
      "test/core/format/token.test.ts",
      "test/core/store/{journal-disk,ledger,ledger-failure}.test.ts",
      "test/apps/access-node/channel.test.ts",
    ],
    testTimeout: 20_000,
    hookTimeout: 20_000,
    fileParallelism: false,
  },
});
