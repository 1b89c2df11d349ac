/**
 * What ledgers say of this node's journal, heard before it sends any claim and again every minute.
 *
 * A question is an empty batch for a ledger that does not exist: whichever one is there answers with its own name.
 * Another name than before means that the ledger was lost, and everything is sent again to the new one. Two that
 * both answer would both pay: then nobody is believed any more. The answer also tells what the ledger holds of
 * this journal: less than it acknowledged means an older copy of the ledger, more than the journal has an older
 * copy of the journal, and another journal that somebody else serves this shard.
 */
import { ID_BYTES } from "../../core/format/claim.ts";
import type { Acknowledgement } from "../../core/format/claim-batch.ts";
import { HongbaoError, invariant } from "../../core/format/error.ts";
import type { Journal } from "../../core/store/journal.ts";
import { type Shipment, sealQuestion } from "./shipment.ts";
import type { Unvouched } from "./unvouched.ts";

/** Answers that must agree before a ledger is believed in: several workers take turns at a queue. */
const ANSWERS = 8;

export interface WitnessOptions {
  readonly journal: Journal;
  /** Where the journal ended before this node wrote anything, until a ledger has vouched for it. */
  readonly unvouched: Unvouched;
  readonly wireKey: Uint8Array;
  /** Random bytes, for names of ledgers that do not exist. */
  readonly random: (bytes: number) => Buffer;
  /** Something that an engineer must know: a ledger was replaced, or there are two. */
  readonly alarm: (message: string) => void;
}

export class LedgerWitness {
  private readonly options: WitnessOptions;
  private known: Buffer | undefined;
  private open: Shipment | undefined;
  /** Answers to the questions of this round. */
  private answers: Acknowledgement[] = [];
  /** Ledgers that this process has sent claims to and left, hex. */
  private readonly left = new Set<string>();
  private split = false;
  private contradicted = false;

  /** @param known the ledger that the journal knows */
  constructor(options: WitnessOptions, known: Buffer | undefined) {
    this.options = options;
    this.known = known;
  }

  /** The ledger that is believed in, or was when the journal was last written. */
  get ledgerId(): Buffer | undefined {
    return this.known;
  }

  /** True once two ledgers answered. */
  get isSplit(): boolean {
    return this.split;
  }

  /** The question that waits for its answer. */
  get question(): Shipment | undefined {
    return this.open;
  }

  /** @param wasContradicted another ledger than the known one has answered a batch */
  begin(wasContradicted: boolean): void {
    this.answers = [];
    this.contradicted = wasContradicted;
  }

  /** @returns what to ask now, or undefined when this round has its answers */
  ask(position: number): Shipment | undefined {
    if (this.answers.length >= ANSWERS) return undefined;
    const { wireKey, journal, random } = this.options;
    this.open ??= sealQuestion(wireKey, journal.identity, position, random(ID_BYTES));
    return this.open;
  }

  /** The open question was answered. */
  hear(answer: Acknowledgement): void {
    this.open = undefined;
    this.answers.push(answer);
    // Where another one has contradicted the known ledger before, they are two.
    if (!this.contradicted) this.forgetReplaced();
  }

  /**
   * What a round came to.
   * @returns from which offset on to send to the ledger that is now `ledgerId`, or undefined if there are two
   * @throws HongbaoError `owned_elsewhere`
   */
  judge(position: number): number | undefined {
    const names = new Set(this.answers.map(({ ledgerId }) => Buffer.from(ledgerId).toString("hex")));
    const before = this.known;
    if (!this.believe(names)) return undefined;
    return this.hold(this.answers.at(-1), before === this.known ? position : 0);
  }

  /** The known ledger's answers, and then another's: it was replaced meanwhile, unless it is heard again. */
  private forgetReplaced(): void {
    const others = this.answers.filter(({ ledgerId }) => this.known?.equals(ledgerId) !== true);
    if (others.length === 1 && others[0] === this.answers.at(-1)) this.answers = others;
  }

  /** Holds the ledger's word on this journal against the journal. */
  private hold(answer: Acknowledgement | undefined, position: number): number {
    invariant(answer !== undefined, "a round that is judged has its answers");
    if (answer.standing === "other-journal")
      throw new HongbaoError(
        "owned_elsewhere",
        "the ledger knows another journal of this shard: another node has served these packets; stop this one, and serve the shard from that journal",
      );
    const endsAt = this.options.unvouched.offset ?? this.options.journal.appendedOffset;
    if (answer.settledUpTo > endsAt)
      throw new HongbaoError(
        "owned_elsewhere",
        `the ledger holds claims of this journal up to offset ${answer.settledUpTo}, but it ended at ${endsAt}: this is an older copy; restore the journal itself`,
      );
    if (answer.settledUpTo >= position) return position;
    this.options.alarm(
      `the ledger vouches for this journal only up to offset ${answer.settledUpTo}, not ${position}: it is an older copy; everything behind is sent again`,
    );
    return answer.settledUpTo;
  }

  private believe(answers: ReadonlySet<string>): boolean {
    const known = this.known?.toString("hex");
    const [heard] = answers;
    if (
      heard === undefined ||
      answers.size > 1 ||
      this.left.has(heard) ||
      (this.contradicted && heard === known)
    ) {
      this.split = true;
      const names = [...new Set([...answers, ...this.left, ...(known === undefined ? [] : [known])])].join(
        " and ",
      );
      this.options.alarm(
        `two ledgers answer on this queue (${names}): nothing more is sent; stop the wrong credit worker, then start this node again`,
      );
      return false;
    }
    if (heard === known) return true;
    if (known !== undefined) {
      this.left.add(known);
      this.options.alarm(
        `ledger ${known} was replaced by ${heard}: everything is sent again from the beginning`,
      );
    }
    this.known = Buffer.from(heard, "hex");
    return true;
  }
}
