/**
 * What clients may send, and what comes back when they send something else: zod schemas for every body, and
 * problem documents (RFC 9457) with stable codes.
 */
import { z } from "zod";
import { describeIssues } from "../../core/format/json.ts";
import { BufferPool } from "./buffer-pool.ts";
import { heap } from "./heap.ts";

export const BODY_BYTES_MAX = 16 * 1024;
/** A show config may carry many rounds. */
export const SHOW_BODY_BYTES_MAX = 256 * 1024;
/** A show config with its signatures has three. */
const LEVELS_MAX = 8;
export const IDEMPOTENCY_KEY_CHARS_MAX = 255;

const NAME_BYTES_MAX = 128;
// biome-ignore lint/suspicious/noControlCharactersInRegex: these are what a name may not hold
const FORBIDDEN = /[\u0000-\u001f\u007f-\u009f]|\p{Surrogate}/u;

const name = z
  .string()
  .min(1)
  .max(NAME_BYTES_MAX)
  .refine(
    (text) => Buffer.byteLength(text) <= NAME_BYTES_MAX,
    `must be at most ${NAME_BYTES_MAX} UTF-8 bytes`,
  )
  .refine((text) => !FORBIDDEN.test(text), "must not hold control characters");

export const shakeBody = z.strictObject({ user: name, device: name, pass: z.string().optional() });
export const openBody = z.strictObject({
  token: z.string(),
  user: name,
  device: name,
  pass: z.string().optional(),
});

/** Every refusal of the HTTP surface: status and title by stable code. */
export const PROBLEMS = {
  invalid_request: [400, "The request is not valid"],
  invalid_token: [400, "This is not a token of this node"],
  invalid_show: [400, "The show config is not valid"],
  bad_signature: [403, "The show config is not signed by the operator"],
  not_yours: [403, "This token was not given to this user on this device"],
  not_found: [404, "There is nothing at this address"],
  not_newer: [409, "A show config of this or a later version is in force"],
  expired: [410, "The campaign has expired"],
  too_large: [413, "The request is too large"],
  key_reused: [422, "This Idempotency-Key was used with another body"],
  head_too_large: [431, "The request has too many headers"],
  starting: [503, "This node is not ready yet"],
  draining: [503, "This node is being stopped"],
  unavailable: [503, "The node cannot keep a promise right now; nothing was acknowledged"],
} as const;

export type ProblemCode = keyof typeof PROBLEMS;

export function problem(code: ProblemCode, detail?: string): Response {
  const [status, title] = PROBLEMS[code];
  const headers: Record<string, string> = { "content-type": "application/problem+json" };
  if (status === 503) headers["retry-after"] = "1";
  const body = { type: "about:blank", title, status, code, ...(detail !== undefined && { detail }) };
  return new Response(JSON.stringify(body), { status, headers });
}

/** A body that was refused, as the problem to answer with. */
export class BadBody extends Error {
  readonly code: ProblemCode;

  constructor(code: ProblemCode, detail: string) {
    super(detail);
    this.code = code;
  }
}

/** @throws BadBody `too_large` or `invalid_request` */
export async function readBody<T>(
  request: Request,
  schema: z.ZodType<T>,
  bytesMax = BODY_BYTES_MAX,
): Promise<T> {
  const text = await readText(request, bytesMax);
  if (isDeep(text))
    throw new BadBody("invalid_request", `the body is nested deeper than ${LEVELS_MAX} levels`);
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw new BadBody("invalid_request", "the body is not JSON");
  }
  const result = schema.safeParse(value);
  if (!result.success) throw new BadBody("invalid_request", describeIssues(result.error));
  return result.data;
}

const largeBuffers = new BufferPool(SHOW_BODY_BYTES_MAX);

async function readText(request: Request, bytesMax: number): Promise<string> {
  // Made only when it is thrown: an error's stack costs more than the rest of a request's body.
  const tooLarge = () => new BadBody("too_large", `a body may have at most ${bytesMax} bytes`);
  const declared = request.headers.get("content-length");
  if (declared !== null && Number(declared) > bytesMax) throw tooLarge();
  try {
    if (bytesMax > BODY_BYTES_MAX)
      return await largeBuffers.lend((buffer) => readInto(buffer.subarray(0, bytesMax), request, tooLarge));
    if (declared === null && request.body !== null) return await readStream(request.body, bytesMax, tooLarge);
    return decodeUtf8(new Uint8Array(await request.arrayBuffer()));
  } catch (error) {
    if (error instanceof BadBody) throw error;
    // The client went away in the middle: nobody reads this answer, and it is no fault of the node.
    throw new BadBody("invalid_request", "the body ended early");
  }
}

/** A body without a length (chunked): counted as it comes, dropped as soon as it is too large. */
async function readStream(
  body: ReadableStream<Uint8Array>,
  bytesMax: number,
  tooLarge: () => BadBody,
): Promise<string> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of body) {
    size += chunk.length;
    if (size > bytesMax) throw tooLarge();
    chunks.push(chunk);
  }
  return decodeUtf8(Buffer.concat(chunks));
}

/** A body that may be large: there are as many of these as the server has places for uploads. */
async function readInto(buffer: Buffer, request: Request, tooLarge: () => BadBody): Promise<string> {
  let size = 0;
  for await (const chunk of request.body ?? []) {
    if (size + chunk.length > buffer.length) throw tooLarge();
    buffer.set(chunk, size);
    size += chunk.length;
    heap.came(chunk.length);
  }
  return decodeUtf8(buffer.subarray(0, size));
}

/** JSON.parse takes milliseconds for thousands of levels, in which nobody else is served. */
function isDeep(json: string): boolean {
  let level = 0;
  let isString = false;
  for (let i = 0; i < json.length; i++) {
    const char = json[i];
    if (isString && char === "\\") i++;
    else if (char === '"') isString = !isString;
    else if (isString) continue;
    else if (char === "{" || char === "[") level++;
    else if (char === "}" || char === "]") level--;
    if (level > LEVELS_MAX) return true;
  }
  return false;
}

function decodeUtf8(bytes: Uint8Array): string {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    throw new BadBody("invalid_request", "the body is not UTF-8");
  }
}
