import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["test/**/*.test.ts"],
    testTimeout: 60_000,
    hookTimeout: 60_000,
    // End-to-end tests start whole shows of five processes each; two cores carry one at a time.
    fileParallelism: false,
    coverage: {
      provider: "v8",
      include: ["core/**/*.ts", "apps/access-node/{channel,forwarder,ledger-witness,shipment}.ts"],
      exclude: ["test/**", "**/*.d.ts"],
      reporter: ["text", "json-summary"],
      // Every branch is tested, or a `v8 ignore` beside it says why it is not.
      thresholds: { branches: 100 },
    },
  },
});
