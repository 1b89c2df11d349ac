/**
 * Carries a shard's journal into its books: what was handed out, burned and opened. The journal is believed only
 * where it fits the seeds: a hand-out names the place and the serial that lie there, and a claim counts if its
 * token is the packet (opened here again, seal and checksum) and its claimant the one it was handed to, whatever
 * the node thought of it.
 *
 * A live journal's torn tail ends the reading; damage in front of something synced is `corrupt`, and what was
 * read before it still counts.
 */
import { HongbaoError } from "../../core/format/error.ts";
import type { Frame } from "../../core/format/frame.ts";
import type { PacketId } from "../../core/format/packet.ts";
import { readTokenNonce, TOKEN_BYTES } from "../../core/format/token.ts";
import { type JournalEntry, openJournalReader } from "../../core/store/journal-reader.ts";
import type { Findings } from "./findings.ts";
import type { HolderHash } from "./holder.ts";
import type { RefusedClaims } from "./refused-claims.ts";
import type { ShardBooks } from "./shard-books.ts";
import { OPEN_MAX, type ShardOpener } from "./shard-opener.ts";

type FrameOf<T extends Frame["type"]> = Extract<Frame, { type: T }>;
type ClaimFrame = FrameOf<"claim">;

export interface ReplayTools {
  readonly books: ShardBooks;
  readonly opener: ShardOpener;
  readonly holder: HolderHash;
  readonly refused: RefusedClaims;
  readonly findings: Findings;
}

export interface Replayed {
  /** False if the journal is corrupt: what it said behind the damage is not known. */
  readonly whole: boolean;
  /** The last that a ledger acknowledged. */
  readonly acknowledged: FrameOf<"acknowledged"> | undefined;
}

export async function replayJournal(dir: string, tools: ReplayTools): Promise<Replayed> {
  const replay = new JournalReplay(tools);
  const whole = await readFrames(dir, tools.findings, (entry) => replay.apply(entry));
  replay.settleClaims();
  return { whole, acknowledged: replay.acknowledged };
}

async function readFrames(
  dir: string,
  findings: Findings,
  apply: (entry: JournalEntry) => void,
): Promise<boolean> {
  try {
    const reader = await openJournalReader(dir);
    try {
      for await (const entry of reader.entries()) apply(entry);
    } finally {
      await reader.close();
    }
    return true;
  } catch (error) {
    if (!(error instanceof HongbaoError) || error.code !== "corrupt_journal") throw error;
    findings.add("corrupt", undefined, error.message);
    return false;
  }
}

class JournalReplay {
  acknowledged: FrameOf<"acknowledged"> | undefined;
  private readonly tools: ReplayTools;
  /** Claims wait here until a batch of them is opened at once. */
  private readonly tokens = Buffer.alloc(OPEN_MAX * TOKEN_BYTES);
  private readonly claims: { claim: ClaimFrame; end: number }[] = [];

  constructor(tools: ReplayTools) {
    this.tools = tools;
  }

  apply({ frame, end }: JournalEntry): void {
    switch (frame.type) {
      case "issue":
        this.issue(frame);
        return;
      case "burn":
        this.burn(frame);
        return;
      case "claim":
        this.tokens.set(frame.token, this.claims.length * TOKEN_BYTES);
        this.claims.push({ claim: frame, end });
        if (this.claims.length === OPEN_MAX) this.settleClaims();
        return;
      case "acknowledged":
        this.acknowledged = frame;
        return;
      // What may be issued is not issued yet, and what was synced moves no packet.
      case "lease":
      case "return":
      case "durable":
        return;
    }
  }

  /** Opens the waiting claims: to be called once more behind the last frame. */
  settleClaims(): void {
    const { columns, verdict } = this.tools.opener.open(this.tokens, this.claims.length);
    for (const [i, { claim, end }] of this.claims.entries()) {
      if (verdict(i) === "genuine") this.opened(columns.serials[i] ?? 0, claim, end);
      else this.tools.refused.add(this.refusal(claim), claim);
    }
    this.claims.length = 0;
  }

  /** In the worker's words, so that its rejection and this are one finding. */
  private refusal({ token }: ClaimFrame): "forged" | "unknown-token" {
    const { books } = this.tools;
    const { epoch, shard, serial } = readTokenNonce(token);
    const isOurs = epoch === books.epoch && shard === books.shard;
    return isOurs && serial >= books.packets ? "unknown-token" : "forged";
  }

  private issue({ lane, position, serial, user, device }: FrameOf<"issue">): void {
    const { books, findings, holder } = this.tools;
    const place = books.at(lane, position);
    // The token of this place may be damaged: then the journal is the one to say which packet it was.
    if (place !== undefined && !books.isNamed(place)) books.name(place, serial);
    if (place === undefined || books.find(serial) !== place)
      this.contradict(`hands out packet ${serial} at position ${position} of lane ${lane}: it is not there`);
    else if (books.was(place, "issued"))
      findings.add("issued-twice", this.packet(serial), `handed out again, to user ${user} on ${device}`);
    else {
      books.mark(place, "issued");
      books.hold(place, holder(user, device));
    }
  }

  private burn({ lane, from, to }: FrameOf<"burn">): void {
    const { books } = this.tools;
    if (from === to) return;
    const [first, last] = [books.at(lane, from), books.at(lane, to - 1)];
    if (first === undefined || last === undefined || first > last)
      this.contradict(`burns positions ${from} to ${to} of lane ${lane}: they are not there`);
    else for (let place = first; place <= last; place++) books.mark(place, "burned");
  }

  /** A genuine token was opened. A burned packet has no hand-out on record: whoever opens it first holds it. */
  private opened(serial: number, claim: ClaimFrame, end: number): void {
    const { books, findings, holder, refused } = this.tools;
    const place = books.find(serial);
    const packet = this.packet(serial);
    if (place === undefined) {
      findings.add("corrupt", packet, "opened, but its record in the seed file cannot be read");
      return;
    }
    const claimant = holder(claim.user, claim.device);
    if (books.holderOf(place) === 0) books.hold(place, claimant);
    if (books.holderOf(place) === claimant) books.claim(place, end);
    else refused.add("double-claim", claim);
  }

  private packet(serial: number): PacketId {
    return { epoch: this.tools.books.epoch, shard: this.tools.books.shard, serial };
  }

  private contradict(what: string): void {
    this.tools.findings.add("corrupt", undefined, `shard ${this.tools.books.shard}: its journal ${what}`);
  }
}
