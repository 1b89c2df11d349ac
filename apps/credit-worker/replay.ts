/**
 * `credit --replay`: the nodes' journals into a ledger, without queue or node. The claims take the same path as
 * live ones (same pin, same checks, same transactions): a ledger that is whole is not changed, and one that was
 * lost comes back. Only a user who was over quota at several nodes may find another of his packets refused than
 * before, since the first to be credited wins, and here that is the first journal named.
 */
import type { Logger } from "pino";
import type { Claim } from "../../core/format/claim.ts";
import { BATCH_CLAIMS_MAX } from "../../core/format/claim-batch.ts";
import { HongbaoError } from "../../core/format/error.ts";
import { openJournalReader } from "../../core/store/journal-reader.ts";
import { type Books, type BooksOptions, openBooks } from "./books.ts";
import { systemClock } from "./clock.ts";
import { Crediting, emptyTally, type Tally } from "./credit.ts";
import { Pace } from "./pace.ts";

export interface ReplayOptions extends BooksOptions {
  /** One journal directory a node. */
  readonly dirs: readonly string[];
}

/**
 * @returns how the claims were answered: created + exists + conflict + rejected are all claims read
 * @throws HongbaoError for whatever `openBooks` refuses, `missing_file`, `invalid_journal`, `corrupt_journal`;
 *   what was replayed before stays, and replaying again goes on from there
 */
export async function replayJournals(
  options: ReplayOptions,
  world: { readonly log: Logger },
): Promise<Tally> {
  const clock = systemClock(new AbortController().signal);
  const books = await openBooks(options, clock);
  try {
    const crediting = new Crediting(books, { pace: new Pace(undefined, clock), clock, log: world.log });
    const sum = emptyTally();
    for (const dir of options.dirs) addTally(sum, await replayJournal(dir, books, crediting));
    return sum;
  } finally {
    books.ledger.close();
  }
}

async function replayJournal(dir: string, { checker }: Books, crediting: Crediting): Promise<Tally> {
  const reader = await openJournalReader(dir);
  const { journalId, shard, epoch } = reader.identity;
  if (!checker.covers(reader.identity))
    throw new HongbaoError(
      "invalid_journal",
      `${dir} is the journal of shard ${shard}, epoch ${epoch} of another campaign or mint: leave it out, or name its campaign and --epoch`,
    );
  const sum = emptyTally();
  const settle = async (claims: readonly Claim[]): Promise<void> => {
    const tally = await crediting.settle(shard, journalId, claims);
    if (tally === "wrong-journal")
      throw new HongbaoError(
        "invalid_journal",
        `the ledger has taken shard ${shard} from another journal than ${dir}: two nodes served one shard, or this is an old copy`,
      );
    addTally(sum, tally);
  };
  try {
    let claims: Claim[] = [];
    for await (const { frame } of reader.entries()) {
      if (frame.type !== "claim") continue;
      claims.push(frame);
      if (claims.length < BATCH_CLAIMS_MAX) continue;
      await settle(claims);
      claims = [];
    }
    // Also when nothing is left: a shard without a claim is pinned to its journal all the same.
    await settle(claims);
  } finally {
    await reader.close();
  }
  return sum;
}

function addTally(sum: Tally, more: Tally): void {
  sum.created += more.created;
  sum.exists += more.exists;
  sum.conflict += more.conflict;
  sum.rejected += more.rejected;
}
