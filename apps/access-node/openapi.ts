/**
 * The OpenAPI document, made from the same schemas that parse the requests.
 */
import { z } from "zod";
import { signedShowSchema } from "../../core/format/show.ts";
import {
  BODY_BYTES_MAX,
  openBody,
  PROBLEMS,
  type ProblemCode,
  SHOW_BODY_BYTES_MAX,
  shakeBody,
} from "./bodies.ts";
import { LIMITS } from "./server.ts";

const token = z.string().regex(/^[A-Za-z0-9_-]{60}$/);
const time = z.iso.datetime();
const shakeAnswer = z.union([
  z.object({ outcome: z.literal("packet"), token, ad: z.int(), pass: z.string() }),
  z.object({ outcome: z.enum(["greeting", "limit", "over"]) }),
  z.object({ outcome: z.literal("countdown"), startsAt: time.nullable() }),
]);
const openAnswer = z.object({
  packet: z.string(),
  cents: z.int(),
  ad: z.int(),
  status: z.literal("crediting"),
});
const showAnswer = z.object({
  serverTime: time,
  campaign: z.string(),
  mode: z.enum(["test", "live"]),
  version: z.int().nullable(),
  state: z.enum(["none", "stopped", "countdown", "open", "over"]),
  startsAt: time.nullable(),
  closesAt: time.nullable(),
  rounds: z.array(z.string()),
});
const problemAnswer = z.object({
  type: z.string(),
  title: z.string(),
  status: z.int(),
  code: z.string(),
  detail: z.string().optional(),
});

export function openApi() {
  return {
    openapi: "3.1.0",
    info: {
      title: "Hongbao access node",
      version: "1",
      description: `Hands out sealed packets exactly once and opens them. \`user\` must be authenticated by the gateway in front. ${limits()}`,
    },
    paths: {
      "/v1/shake": {
        post: operation(
          "Shake once",
          shakeBody,
          shakeAnswer,
          [
            "invalid_request",
            "too_large",
            "head_too_large",
            "key_reused",
            "starting",
            "draining",
            "unavailable",
          ],
          [
            {
              name: "Idempotency-Key",
              in: "header",
              required: false,
              description:
                "Per user and device: the same key repeats a packet answer exactly, also after a restart; other answers may be drawn again. The same key with another body is 422.",
              schema: { type: "string", minLength: 1, maxLength: 255 },
            },
          ],
        ),
      },
      "/v1/open": {
        post: operation("Open a packet", openBody, openAnswer, [
          "invalid_request",
          "invalid_token",
          "not_yours",
          "expired",
          "too_large",
          "head_too_large",
          "starting",
          "draining",
          "unavailable",
        ]),
      },
      "/v1/show": {
        get: { summary: "What is on air", responses: { 200: json(showAnswer) } },
        put: operation("Push a signed show config", signedShowSchema, undefined, [
          "invalid_request",
          "invalid_show",
          "bad_signature",
          "not_newer",
          "too_large",
          "head_too_large",
        ]),
      },
      "/healthz": { get: { summary: "The process is alive", responses: { 200: { description: "Alive" } } } },
      "/readyz": {
        get: {
          summary: "The node takes shakes",
          responses: { 200: { description: "Ready" }, 503: problems(["starting", "draining"]) },
        },
      },
      "/metrics": {
        get: { summary: "Prometheus metrics", responses: { 200: { description: "Text exposition" } } },
      },
    },
  };
}

/** What every request on every path is held to. */
function limits(): string {
  const { headBytes, headers, headMs, requestMs, stillMs, keepAliveMs } = LIMITS;
  return [
    `A body has at most ${BODY_BYTES_MAX} bytes, that of a show config ${SHOW_BODY_BYTES_MAX} (413).`,
    `A request's line and headers have at most ${headBytes} bytes and ${headers} lines (431; without a body where the parser refuses).`,
    `A head is sent within ${headMs / 1000} s and a request within ${requestMs / 1000} s (408, closed).`,
    `A connection on which nothing moves is closed after ${stillMs / 1000} s, between requests after ${keepAliveMs / 1000} s.`,
  ].join(" ");
}

function operation(
  summary: string,
  body: z.ZodType,
  answer: z.ZodType | undefined,
  codes: ProblemCode[],
  parameters: object[] = [],
) {
  const byStatus = new Map<number, ProblemCode[]>();
  for (const code of codes)
    byStatus.set(PROBLEMS[code][0], [...(byStatus.get(PROBLEMS[code][0]) ?? []), code]);
  const refusals = [...byStatus].map(([status, same]) => [status, problems(same)]);
  return {
    summary,
    parameters,
    requestBody: {
      required: true,
      content: { "application/json": { schema: z.toJSONSchema(body, { io: "input" }) } },
    },
    responses: {
      ...(answer ? { 200: json(answer) } : { 204: { description: "Taken" } }),
      ...Object.fromEntries(refusals),
    },
  };
}

function json(schema: z.ZodType) {
  return { description: "OK", content: { "application/json": { schema: z.toJSONSchema(schema) } } };
}

function problems(codes: ProblemCode[]) {
  return {
    description: codes.map((code) => `${code}: ${PROBLEMS[code][1]}`).join("; "),
    content: { "application/problem+json": { schema: z.toJSONSchema(problemAnswer) } },
  };
}
