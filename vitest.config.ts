import { defineConfig } from "vitest/config";

const limits = { testTimeout: 60_000, hookTimeout: 60_000 };
/** Whole shows of five processes each, and servers that are killed: two cores carry one of these at a time. */
const ALONE = [
  "test/e2e/**/*.test.ts",
  "test/scripts/torture/experiments.test.ts",
  "test/core/store/queue-*.test.ts",
];

export default defineConfig({
  test: {
    projects: [
      {
        test: {
          ...limits,
          name: "together",
          include: ["test/**/*.test.ts"],
          exclude: ALONE,
          maxWorkers: 2,
          sequence: { groupOrder: 0 },
        },
      },
      { test: { ...limits, name: "alone", include: ALONE, maxWorkers: 1, sequence: { groupOrder: 1 } } },
    ],
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
