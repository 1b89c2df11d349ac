/**
 * Whether one column of numbers tells anything about another: scores that are standard normal if it does not, so that
 * one bound fits them all.
 */

/**
 * Spearman's rank correlation as a score, z = rho * sqrt(n - 1). Equal values share the mean of their ranks, and rho is
 * Pearson's coefficient of the ranks, as it must be with ties.
 */
export function rankScore(a: readonly number[], b: readonly number[]): number {
  return correlation(ranks(a), ranks(b)) * Math.sqrt(a.length - 1);
}

/** How far a group's mean rank is from that of all, as a score (Wilcoxon's rank sum, with the ranks' own variance). */
export function groupScore(rankOf: Float64Array, isMember: (i: number) => boolean): number {
  const n = rankOf.length;
  const mean = (n + 1) / 2;
  let [members, sum, squares] = [0, 0, 0];
  for (const [i, rank] of rankOf.entries()) {
    squares += (rank - mean) ** 2;
    if (!isMember(i)) continue;
    members++;
    sum += rank - mean;
  }
  if (members === 0 || members === n) return 0;
  const variance = (squares / (n - 1)) * members * (1 - members / n);
  return sum / Math.sqrt(variance);
}

/** Chi-square of counts that should be equal, as a score (for many counts it is normal). */
export function evenScore(counts: Uint32Array): number {
  const total = counts.reduce((sum, count) => sum + count, 0);
  const expected = total / counts.length;
  const chi = counts.reduce((sum, count) => sum + (count - expected) ** 2 / expected, 0);
  const freedom = counts.length - 1;
  return (chi - freedom) / Math.sqrt(2 * freedom);
}

/** The rank of each value, 1 to n; equal values have the mean of theirs. */
export function ranks(values: readonly number[]): Float64Array {
  const order = Uint32Array.from(values, (_, i) => i).sort((i, j) => (values[i] ?? 0) - (values[j] ?? 0));
  const rankOf = new Float64Array(values.length);
  for (let from = 0; from < order.length; ) {
    const value = values[order[from] ?? 0];
    let to = from + 1;
    while (to < order.length && values[order[to] ?? 0] === value) to++;
    for (let at = from; at < to; at++) rankOf[order[at] ?? 0] = (from + to + 1) / 2;
    from = to;
  }
  return rankOf;
}

function correlation(a: Float64Array, b: Float64Array): number {
  const mean = (a.length + 1) / 2;
  let [both, first, second] = [0, 0, 0];
  for (const [i, x] of a.entries()) {
    const [dx, dy] = [x - mean, (b[i] ?? 0) - mean];
    both += dx * dy;
    first += dx * dx;
    second += dy * dy;
  }
  return both / Math.sqrt(first * second);
}
