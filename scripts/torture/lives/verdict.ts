/**
 * Holds a recovered node against what the world has seen: nothing acknowledged is lost, nothing that left leaves
 * again, and what became of the rest is written down.
 */
import type { Frame } from "../../../core/format/frame.ts";
import type { JournalReader } from "../../../core/store/journal-reader.ts";
import type { SeededRandom } from "../random.ts";
import type { Life } from "./life.ts";
import type { MintedDisk } from "./minted-disk.ts";
import type { SeenPacket } from "./witness.ts";

const BURNED_MAX = 256;
/** Keyed answers that are asked for again. */
const REPEATED = 2;

type Of<T extends Frame["type"]> = Extract<Frame, { type: T }>;

/** What a journal says, by serial and lane. */
interface Account {
  readonly issues: Map<number, Of<"issue">>;
  readonly claims: Map<number, Of<"claim">>;
  readonly burns: Of<"burn">[];
}

/** @returns every promise that the life does not keep, as sentences */
export async function judge(life: Life, minted: MintedDisk, random: SeededRandom): Promise<string[]> {
  const account = await read(await life.shard.journal.reader());
  const wrong = [
    ...judgeClaims(life, account),
    ...judgePackets(life, account, minted),
    ...judgeRest(life),
    ...(await judgeRepeats(life, account, random)),
  ];
  return wrong;
}

async function read(reader: JournalReader): Promise<Account> {
  const account: Account = { issues: new Map(), claims: new Map(), burns: [] };
  try {
    for await (const { frame } of reader.entries())
      if (frame.type === "issue") account.issues.set(frame.serial, frame);
      else if (frame.type === "claim") account.claims.set(frame.serial, frame);
      else if (frame.type === "burn") account.burns.push(frame);
  } finally {
    await reader.close();
  }
  return account;
}

function judgeClaims({ witness, shard }: Life, { claims }: Account): string[] {
  return witness.claims.flatMap(({ packet }) => {
    const claim = claims.get(packet.serial);
    const { user, device } = packet.request;
    const isHeld =
      claim?.user === user &&
      claim.device === device &&
      Buffer.from(claim.token).toString("base64url") === packet.token &&
      shard.book.isClaimed(packet.serial);
    return isHeld ? [] : [`the acknowledged claim of packet ${packet.serial} is lost`];
  });
}

function judgePackets({ witness, shard }: Life, account: Account, { seats }: MintedDisk): string[] {
  return witness.packets.flatMap(({ serial, request }) => {
    const seat = seats[serial];
    if (seat === undefined) return [`packet ${serial} is not one of the shard`];
    const { lane, position } = seat;
    if (
      position >= (shard.book.lanes[lane]?.cursor ?? 0) ||
      position >= (shard.channels[lane]?.position ?? 0)
    )
      return [`packet ${serial} had left and would leave again`];
    const issue = account.issues.get(serial);
    const isBurned = account.burns.some(
      (burn) => burn.lane === lane && burn.from <= position && position < burn.to,
    );
    if (issue === undefined && !isBurned)
      return [`packet ${serial} had left and is neither issued nor burned`];
    if (issue !== undefined && isBurned) return [`packet ${serial} is issued and burned`];
    const isTheirs = issue === undefined || issue.user === request.user;
    return isTheirs ? [] : [`packet ${serial} of ${request.user} is written down as ${issue.user}'s`];
  });
}

function judgeRest({ witness, shard, burnedNow }: Life): string[] {
  const wrong: string[] = [];
  if (burnedNow > BURNED_MAX) wrong.push(`${burnedNow} packets were burned by one start`);
  const { version } = shard.programme;
  if ((version ?? 0) < witness.version)
    wrong.push(`show config ${witness.version} was acknowledged, ${version} is in force`);
  if ((shard.book.acknowledged?.upTo ?? 0) > shard.journal.appendedOffset)
    wrong.push("a ledger is said to have acknowledged more than the journal holds");
  if (shard.journal.durableOffset < shard.journal.appendedOffset)
    wrong.push("a recovered node answers before its journal is on the disk");
  return wrong;
}

/** A keyed request is answered to the letter, or, if its record is lost, with a packet that nobody has seen. */
async function judgeRepeats(life: Life, { issues }: Account, random: SeededRandom): Promise<string[]> {
  const keyed = life.witness.packets.filter(({ key }) => key !== undefined);
  const wrong: string[] = [];
  const asked: SeenPacket[] =
    keyed.length === 0 ? [] : Array.from({ length: REPEATED }, () => random.pick(keyed));
  for (const before of asked) {
    const again = await life.shake(before.request.user, before.key);
    if (issues.has(before.serial) && again?.token !== before.token)
      wrong.push(`the keyed answer with packet ${before.serial} was not repeated`);
  }
  return wrong;
}
