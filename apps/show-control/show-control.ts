/**
 * The operator's side of the show: signs a config and pushes it to every node, so that it arrives, or was not
 * needed because the nodes already hold the plan.
 *
 * The last config that was signed is kept beside the operator's data, because `shift` and `stop` are edits of
 * it. Nodes decide alone: a config that one node refused or missed can be pushed again at any time.
 */

import { HongbaoError } from "../../core/format/error.ts";
import { canonicalJson } from "../../core/format/json.ts";
import { parseShow, type Show, type SignedShow } from "../../core/format/show.ts";
import { signShow } from "../../core/format/signature.ts";
import { CampaignDir, type Roots } from "../../core/store/campaign-dir.ts";
import { exists, readSmallFile, replace } from "../../core/store/durable.ts";
import { readKeyFile } from "../../core/store/keystore.ts";

const PUSH_MS_MAX = 5_000;

export interface ShowTarget {
  readonly roots: Roots;
  readonly campaign: string;
  /** Base URLs of the nodes. */
  readonly nodes: readonly string[];
  /** The operator's signing key file; without it the campaign's own (test campaigns). */
  readonly keyFile?: string | undefined;
}

interface Delivery {
  readonly node: string;
  readonly outcome: "taken" | "not-newer" | "refused" | "unreachable";
  readonly detail: string;
}

export interface Pushed {
  readonly version: number;
  readonly deliveries: readonly Delivery[];
}

/** @param text the show config as the operator wrote it: pushed byte for byte. @throws HongbaoError `invalid_show` */
export async function setShow(target: ShowTarget, text: string): Promise<Pushed> {
  const show = parseShow(text);
  if (show.campaign !== target.campaign)
    throw new HongbaoError(
      "invalid_show",
      `the show config is for campaign ${show.campaign}, not ${target.campaign}`,
    );
  await refuseOlder(target, show, text);
  return await push(target, show, text);
}

/** Moves every round that has not opened by `seconds`, and the end of a round that is open. */
export async function shiftShow(target: ShowTarget, seconds: number, nowMs: number): Promise<Pushed> {
  const last = await lastShow(target);
  const rounds = last.rounds.map((round) => {
    const opened = Date.parse(round.opensAt) <= nowMs;
    const closed = Date.parse(round.closesAt) <= nowMs;
    return {
      ...round,
      opensAt: opened ? round.opensAt : moved(round.opensAt, seconds),
      closesAt: closed ? round.closesAt : moved(round.closesAt, seconds),
    };
  });
  return await pushNext(target, { ...last, rounds });
}

/**
 * Takes everything off the air: nodes answer `countdown` without a time until a newer config comes. Must work in
 * an emergency, from any machine that has the key, so it needs no record of an earlier config, or a whole one.
 */
export async function stopShow(target: ShowTarget): Promise<Pushed> {
  const last = readable(await lastText(target)) ?? { campaign: target.campaign, version: 0, rounds: [] };
  return await pushNext(target, { ...last, stop: true });
}

export interface NodeStatus {
  readonly node: string;
  readonly status: unknown;
  readonly reachable: boolean;
}

/** Every node's own word on what is on air, or why it could not be asked. */
export async function showStatus(nodes: readonly string[]): Promise<NodeStatus[]> {
  return await Promise.all(
    nodes.map(async (node) => {
      try {
        const response = await fetch(new URL("/v1/show", node), { signal: AbortSignal.timeout(PUSH_MS_MAX) });
        return { node, status: await response.json(), reachable: response.ok };
      } catch (error) {
        return { node, status: reason(error), reachable: false };
      }
    }),
  );
}

/**
 * A node cannot know that its clock is wrong, and opens rounds by it: the operator's machine is the second opinion.
 * @returns milliseconds, of nodes whose clock is farther from `nowMs` than their answers may have taken
 */
export function strayClocks(
  statuses: readonly NodeStatus[],
  nowMs: number,
): { node: string; aheadMs: number }[] {
  return statuses
    .map(({ node, status }) => ({ node, aheadMs: timeIn(status) - nowMs }))
    .filter(({ aheadMs }) => Math.abs(aheadMs) > PUSH_MS_MAX);
}

async function pushNext(target: ShowTarget, edited: Show): Promise<Pushed> {
  const show = { ...edited, version: Math.max(edited.version, await highestVersion(target.nodes)) + 1 };
  const text = canonicalJson(show);
  return await push(target, parseShow(text), text);
}

/** The newest version that any reachable node holds: an edit must be newer than that as well. */
async function highestVersion(nodes: readonly string[]): Promise<number> {
  const statuses = await showStatus(nodes);
  return Math.max(0, ...statuses.map(({ status }) => versionIn(status)));
}

function versionIn(status: unknown): number {
  const said = typeof status === "object" && status !== null && "version" in status ? status.version : 0;
  return Number.isSafeInteger(said) ? Number(said) : 0;
}

/** @returns milliseconds since 1970, or NaN from a node that does not say */
function timeIn(status: unknown): number {
  const isSaid = typeof status === "object" && status !== null && "serverTime" in status;
  return isSaid ? Date.parse(String(status.serverTime)) : Number.NaN;
}

async function push(target: ShowTarget, show: Show, text: string): Promise<Pushed> {
  const dir = new CampaignDir(target.roots, target.campaign);
  const key = await readKeyFile("signing", target.keyFile ?? dir.operatorKey);
  if (key.role !== "operator")
    throw new HongbaoError(
      "key_mismatch",
      `a show config is signed by the operator; this key file is the ${key.role}'s`,
    );
  const signed: SignedShow = { show: text, signatures: [{ role: "operator", sig: signShow(key, text) }] };
  // If we die behind this, `shift` and `stop` go on from this version, and pushing it again is harmless.
  await replace(dir.operatorShow, text);
  const deliveries = await Promise.all(target.nodes.map((node) => deliver(node, signed)));
  return { version: show.version, deliveries };
}

async function deliver(node: string, signed: SignedShow): Promise<Delivery> {
  try {
    const response = await fetch(new URL("/v1/show", node), {
      method: "PUT",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(signed),
      signal: AbortSignal.timeout(PUSH_MS_MAX),
    });
    if (response.status === 204) return { node, outcome: "taken", detail: "" };
    const problem = (await response.json().catch(() => ({}))) as { title?: string; detail?: string };
    const detail = [problem.title ?? `HTTP ${response.status}`, problem.detail].filter(Boolean).join(": ");
    return { node, outcome: response.status === 409 ? "not-newer" : "refused", detail };
  } catch (error) {
    return { node, outcome: "unreachable", detail: reason(error) };
  }
}

/**
 * The record never goes back, and no version stands for two configs: half the nodes would hold the one and half the
 * other. The same text again is right, for the nodes that missed it. A damaged record is mended by setting a config.
 */
async function refuseOlder(target: ShowTarget, show: Show, text: string): Promise<void> {
  const last = await lastText(target);
  const version = readable(last)?.version ?? 0;
  if (show.version <= version && text !== last)
    throw new HongbaoError(
      "invalid_show",
      `the show config has version ${show.version}, and version ${version} was set from here before: give it a version above ${version}`,
    );
}

function readable(text: string | undefined): Show | undefined {
  if (text === undefined) return undefined;
  try {
    return parseShow(text);
  } catch {
    return undefined;
  }
}

async function lastText(target: ShowTarget): Promise<string | undefined> {
  const path = new CampaignDir(target.roots, target.campaign).operatorShow;
  if (!(await exists(path))) return undefined;
  return (await readSmallFile(path, "the last show config")).toString("utf8");
}

async function lastShow(target: ShowTarget): Promise<Show> {
  const path = new CampaignDir(target.roots, target.campaign).operatorShow;
  const text = await lastText(target);
  if (text === undefined)
    throw new HongbaoError(
      "missing_file",
      `no show config was set from here yet (${path}): run \`hongbao show set FILE\` first`,
    );
  try {
    return parseShow(text);
  } catch (cause) {
    throw new HongbaoError(
      "invalid_show",
      `the last show config ${path} is damaged: set one with a higher version, \`hongbao show set FILE\``,
      { cause },
    );
  }
}

function moved(time: string, seconds: number): string {
  return new Date(Date.parse(time) + seconds * 1000).toISOString();
}

function reason(error: unknown): string {
  const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error;
  return cause instanceof Error ? cause.message : String(cause);
}
