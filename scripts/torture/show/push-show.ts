/**
 * A show config, signed with the operator's key and pushed to a node as soon as it takes it. The node keeps it on its
 * disk: it need not be pushed again to one that was killed.
 */

import type { Round } from "../../../core/format/show.ts";
import { signShow } from "../../../core/format/signature.ts";
import { readKeyFile } from "../../../core/store/keystore.ts";
import type { Minted } from "../stage/minted.ts";
import { until } from "../stage/until.ts";

const PUSH_MS_MAX = 60_000;

export async function pushShow(url: string, minted: Minted, rounds: readonly Round[]): Promise<void> {
  const show = JSON.stringify({ campaign: minted.campaign, version: 1, stop: false, rounds });
  const key = await readKeyFile("signing", minted.epochDir.of.operatorKey);
  const body = JSON.stringify({ show, signatures: [{ role: "operator", sig: signShow(key, show) }] });
  const headers = { "content-type": "application/json" };
  await until(
    async () => (await fetch(`${url}/v1/show`, { method: "PUT", headers, body })).status === 204,
    PUSH_MS_MAX,
  );
}
