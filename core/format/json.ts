/**
 * JSON as every format of ours uses it: one canonical spelling to hash and sign, and one way to say what is wrong
 * with a value that a schema refused.
 */
import canonicalize from "canonicalize";
import type { z } from "zod";
import { invariant } from "./error.ts";

const ISSUES_MAX = 10;
/** What a hostile body says comes back in part only. */
const ISSUE_CHARS_MAX = 300;

/** RFC 8785 canonical JSON: one value, one spelling, so that it can be hashed and signed. */
export function canonicalJson(value: unknown): string {
  const text = canonicalize(value);
  invariant(text !== undefined, "only JSON values are made canonical");
  return text;
}

/** Every fault of a refused value in one line: `ads.1.id: ad 3 appears twice; …`. */
export function describeIssues(error: z.ZodError): string {
  return error.issues
    .slice(0, ISSUES_MAX)
    .map((issue) => (issue.path.length > 0 ? `${issue.path.join(".")}: ${reason(issue)}` : reason(issue)))
    .map((text) => (text.length > ISSUE_CHARS_MAX ? `${text.slice(0, ISSUE_CHARS_MAX)}…` : text))
    .join("; ");
}

/** What the most frequent slips come to, in words; the schema's own message for all others. */
function reason(issue: z.core.$ZodIssue): string {
  if (issue.code === "unrecognized_keys") return `${issue.message}: remove it, or correct its spelling`;
  if (issue.code !== "invalid_type") return issue.message;
  if (issue.message.endsWith("received undefined")) return "is missing";
  return issue.expected === "int" ? "must be a whole number" : issue.message;
}
