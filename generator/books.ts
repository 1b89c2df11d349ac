/**
 * The mint's own books: what the files say, held against what was planned. Every sum is made twice, by the plan
 * before and over the opened packets after, and nothing is published unless they agree.
 */
import { HongbaoError } from "../core/format/error.ts";
import { formatCents } from "../core/format/money.ts";
import type { Minted } from "./mint.ts";
import type { Plan } from "./plan.ts";
import { sumTallies, type Tally } from "./tally.ts";

export interface Check {
  readonly name: "budget exact" | "count exact" | "bounds held" | "no serial twice";
  readonly ok: boolean;
  readonly detail: string;
}

export interface Books {
  readonly tally: Tally;
  readonly checks: readonly Check[];
}

/** @throws HongbaoError `mint_failed` if one of the checks fails */
export function balance(plan: Plan, { shards, repeated }: Minted): Books {
  const lanes = shards.flatMap((shard) =>
    shard.plan.lanes.map((lane, i) => ({ lane, record: shard.records[i] })),
  );
  const tally = sumTallies(lanes.flatMap(({ record }) => record?.tally ?? []));
  const wrongCents = lanes.filter(({ lane, record }) => record?.tally.cents !== lane.cents).length;
  const wrongCount = lanes.filter(({ lane, record }) => record?.tally.packets !== lane.packets).length;
  const outOfBounds = lanes.reduce((sum, { record }) => sum + (record?.outOfBounds ?? 0), 0);
  const checks: Check[] = [
    {
      name: "budget exact",
      ok: wrongCents === 0 && tally.cents === plan.cents,
      detail: `${formatCents(tally.cents)} sealed of ${formatCents(plan.cents)}, ${wrongCents} of ${lanes.length} lanes differ`,
    },
    {
      name: "count exact",
      ok: wrongCount === 0 && tally.packets === plan.packets,
      detail: `${tally.packets} packets sealed of ${plan.packets}, ${wrongCount} of ${lanes.length} lanes differ`,
    },
    {
      name: "bounds held",
      ok: outOfBounds === 0,
      detail: `${outOfBounds} amounts outside their rule`,
    },
    { name: "no serial twice", ok: repeated === 0, detail: `${repeated} serials met twice` },
  ];
  const failed = checks.filter(({ ok }) => !ok);
  if (failed.length > 0)
    throw new HongbaoError(
      "mint_failed",
      `the mint does not add up and nothing is published: ${failed.map(({ name, detail }) => `${name}: ${detail}`).join("; ")}`,
    );
  return { tally, checks };
}
