/**
 * The node's HTTP surface (see `/openapi.json`): routes, and nothing that decides. Bodies are parsed once
 * here; `Shaker`, `Opener` and `Programme` answer.
 */

import type { Context } from "hono";
import { Hono } from "hono";
import { BrokenInvariant, HongbaoError } from "../../core/format/error.ts";
import { signedShowSchema } from "../../core/format/show.ts";
import { airOf } from "./air.ts";
import {
  BadBody,
  IDEMPOTENCY_KEY_CHARS_MAX,
  openBody,
  problem,
  readBody,
  SHOW_BODY_BYTES_MAX,
  shakeBody,
} from "./bodies.ts";
import type { NodeMetrics } from "./metrics.ts";
import type { Opener } from "./open.ts";
import { openApi } from "./openapi.ts";
import type { Shaker } from "./shake.ts";
import type { Shard } from "./shard.ts";

export interface NodeSurface {
  readonly shard: Shard;
  readonly shaker: Shaker;
  readonly opener: Opener;
  readonly metrics: NodeMetrics;
  readonly state: () => NodeState;
  /** An error that no request should cause: for the log. */
  readonly onError: (error: unknown) => void;
  /** A broken invariant: the process must stop. */
  readonly onBug: (error: BrokenInvariant) => void;
}

/** Ready: takes shakes. Draining: finishes what it has. */
export type NodeState = "starting" | "ready" | "draining";

export function nodeApp(surface: NodeSurface): Hono {
  const { shard, metrics } = surface;
  const app = new Hono();

  app.post("/v1/shake", async (c) => {
    const refusal = notReady(surface.state());
    if (refusal) return refusal;
    const body = await readBody(c.req.raw, shakeBody);
    const answer = await surface.shaker.shake(body, idempotencyKey(c));
    if (answer === "key-reused") return problem("key_reused");
    metrics.shake(answer.outcome);
    return c.json(answer);
  });

  app.post("/v1/open", async (c) => {
    const refusal = notReady(surface.state());
    if (refusal) return refusal;
    const startedMs = shard.clock.monotonicMs();
    const body = await readBody(c.req.raw, openBody);
    const answer = await surface.opener.open(body);
    metrics.open(
      typeof answer === "string" ? answer : "opened",
      (shard.clock.monotonicMs() - startedMs) / 1000,
    );
    if (answer === "invalid-token") return problem("invalid_token");
    if (answer === "not-yours") return problem("not_yours");
    if (answer === "expired") return problem("expired");
    return c.json(answer);
  });

  app.get("/v1/show", (c) => c.json(describeShow(shard)));

  app.put("/v1/show", async (c) => {
    const signed = await readBody(c.req.raw, signedShowSchema, SHOW_BODY_BYTES_MAX);
    const accepted = await shard.programme.accept(signed);
    if (accepted === "bad-signature") return problem("bad_signature");
    if (accepted === "not-newer")
      return problem("not_newer", `version ${shard.programme.version} is in force`);
    return c.body(null, 204);
  });

  app.get("/healthz", (c) => c.json({ status: "ok", mode: shard.manifest.mode }));
  app.get("/readyz", (c) => notReady(surface.state()) ?? c.json({ status: "ready" }));
  app.get("/metrics", async () => {
    const { contentType, text } = await metrics.expose();
    return new Response(text, { headers: { "content-type": contentType } });
  });
  const document = JSON.stringify(openApi());
  app.get("/openapi.json", () => new Response(document, { headers: { "content-type": "application/json" } }));

  app.notFound(() => problem("not_found"));
  app.onError((error) => {
    if (error instanceof BadBody) return problem(error.code, error.message);
    if (error instanceof HongbaoError && error.code === "invalid_show")
      return problem("invalid_show", error.message);
    if (error instanceof BrokenInvariant) surface.onBug(error);
    else surface.onError(error);
    return problem("unavailable");
  });
  return app;
}

function notReady(state: NodeState): Response | undefined {
  if (state === "ready") return undefined;
  return problem(state === "starting" ? "starting" : "draining");
}

function idempotencyKey(c: Context): string | undefined {
  const key = c.req.header("idempotency-key");
  if (key !== undefined && (key.length === 0 || key.length > IDEMPOTENCY_KEY_CHARS_MAX))
    throw new BadBody(
      "invalid_request",
      `an Idempotency-Key has 1 to ${IDEMPOTENCY_KEY_CHARS_MAX} characters`,
    );
  return key;
}

function describeShow(shard: Shard) {
  const nowMs = shard.clock.wallMs();
  const air = airOf(shard, nowMs);
  return {
    serverTime: new Date(nowMs).toISOString(),
    campaign: shard.manifest.campaign,
    mode: shard.manifest.mode,
    version: shard.programme.version,
    state: air.state,
    startsAt: air.state === "countdown" ? new Date(air.startsAtMs).toISOString() : null,
    closesAt: air.state === "open" ? new Date(air.closesAtMs).toISOString() : null,
    rounds: air.state === "open" ? air.rounds.map(({ id }) => id) : [],
  };
}
