/**
 * Reads the few figures a live view needs from a node's Prometheus exposition.
 */
export interface NodeGauges {
  readonly opened: number;
  readonly left: number;
  readonly lagBytes: number;
  readonly queueJobs: number | null;
}

const REQUEST_MS_MAX = 2_000;

/** @returns the node's figures, or undefined while it does not answer */
export async function readGauges(node: string): Promise<NodeGauges | undefined> {
  try {
    const response = await fetch(new URL("/metrics", node), { signal: AbortSignal.timeout(REQUEST_MS_MAX) });
    const text = await response.text();
    const jobs = values(text, "hongbao_queue_jobs");
    return {
      opened: sum(values(text, "hongbao_claimed_packets")),
      left: sum(values(text, "hongbao_left_packets")),
      lagBytes: sum(values(text, "hongbao_forward_lag_bytes")),
      queueJobs: jobs.length === 0 || sum(jobs) < 0 ? null : sum(jobs),
    };
  } catch {
    return undefined;
  }
}

function values(text: string, metric: string): number[] {
  return [...text.matchAll(new RegExp(`^${metric}(?:\\{[^}]*\\})? (\\S+)$`, "gm"))].map((match) =>
    Number(match[1]),
  );
}

function sum(numbers: number[]): number {
  return numbers.reduce((total, value) => total + value, 0);
}
