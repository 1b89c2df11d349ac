/**
 * One life of a node on a simulated disk: the real shard, shaker and opener without their HTTP surface, as kill -9,
 * a power loss or a clean stop leave them. Whatever an answer carries is witnessed at the moment it leaves.
 */

import { Opener } from "../../../apps/access-node/open.ts";
import { closeShard, type OpenedShard, openShard } from "../../../apps/access-node/open-shard.ts";
import { Shaker } from "../../../apps/access-node/shake.ts";
import type { Shard } from "../../../apps/access-node/shard.ts";
import { ID_BYTES } from "../../../core/format/claim.ts";
import { signShow } from "../../../core/format/signature.ts";
import { decodeToken, tokenSerial } from "../../../core/format/token.ts";
import type { SeededRandom } from "../random.ts";
import type { SimulatedDisk } from "../simulated-disk/simulated-disk.ts";
import { CAMPAIGN, type MintedDisk, ROOTS } from "./minted-disk.ts";
import type { SeenPacket, Witness } from "./witness.ts";

const START_MS = Date.parse("2027-02-06T14:00:00Z");

export interface LifeWorld {
  readonly minted: MintedDisk;
  readonly random: SeededRandom;
  readonly segmentBytes: number;
  /** A promise was broken in front of everybody. */
  readonly broken: (what: string) => void;
  readonly onFailure: (error: Error) => void;
}

export class Life {
  readonly shard: Shard;
  readonly burnedNow: number;
  readonly witness: Witness;
  readonly disk: SimulatedDisk;
  private readonly world: LifeWorld;
  private readonly opened: OpenedShard;
  private readonly shaker: Shaker;
  private readonly opener: Opener;

  private constructor(opened: OpenedShard, disk: SimulatedDisk, witness: Witness, world: LifeWorld) {
    this.opened = opened;
    this.shard = opened.shard;
    this.burnedNow = opened.burnedNow;
    this.disk = disk;
    this.witness = witness;
    this.world = world;
    this.shaker = new Shaker(opened.shard);
    this.opener = new Opener(opened.shard);
  }

  /** @throws HongbaoError if the node refuses what it finds */
  static async begin(disk: SimulatedDisk, witness: Witness, world: LifeWorld): Promise<Life> {
    const { random } = world;
    let nowMs = START_MS;
    const opened = await openShard(
      { roots: { ...ROOTS, disk }, campaign: CAMPAIGN.campaign, shard: 0, epoch: 1, openNow: true },
      {
        clock: { wallMs: () => nowMs++, monotonicMs: () => nowMs++, after: () => () => {} },
        dice: () => random.below(2 ** 30) / 2 ** 30,
        random: (bytes) => Buffer.from(random.bytes(bytes)),
        segmentBytes: world.segmentBytes,
        onFailure: world.onFailure,
      },
    );
    return new Life(opened, disk, witness, world);
  }

  /** @returns the packet, if it is one; the answer before, for a key that was answered */
  async shake(user: string, key?: string): Promise<SeenPacket | undefined> {
    const request = { user, device: "phone" };
    const answer = await this.shaker.shake(request, key);
    if (answer === "key-reused") this.world.broken(`the key ${key} of ${user} was taken for another's`);
    if (answer === "key-reused" || answer.outcome !== "packet") return undefined;
    const token = decodeToken(answer.token);
    const serial = token ? tokenSerial(token) : -1;
    const { moment } = this.disk;
    const packet = { moment, request, key, serial, token: answer.token, pass: answer.pass };
    const wrong = this.witness.sawPacket(packet);
    if (wrong !== undefined) this.world.broken(wrong);
    return packet;
  }

  async open(packet: SeenPacket): Promise<void> {
    const { token, pass, request } = packet;
    const answer = await this.opener.open({ ...request, token, pass });
    if (typeof answer === "string")
      this.world.broken(
        `packet ${packet.serial} of ${request.user} was not opened for its holder: ${answer}`,
      );
    else this.witness.claims.push({ moment: this.disk.moment, packet, cents: answer.cents });
  }

  async push(version: number): Promise<void> {
    const round = {
      id: `r${version}`,
      opensAt: "2027-01-01T00:00:00Z",
      closesAt: "2098-01-01T00:00:00Z",
      ads: CAMPAIGN.ads.map(({ id }) => id),
    };
    const show = JSON.stringify({ campaign: CAMPAIGN.campaign, version, rounds: [round] });
    const sig = signShow(this.world.minted.operator, show);
    const answer = await this.shard.programme.accept({ show, signatures: [{ role: "operator", sig }] });
    if (answer === "taken" || answer === "not-newer")
      this.witness.shows.push({ moment: this.disk.moment, version });
    else this.world.broken(`show config ${version} was refused: ${answer}`);
  }

  /** As the forwarder notes what a ledger has: never more than is on the disk. */
  noteAcknowledged(): void {
    const upTo = this.shard.journal.durableOffset;
    this.shard.append({ type: "acknowledged", ledgerId: Buffer.alloc(ID_BYTES, 7), upTo });
  }

  /** As the node stops when it is told to. */
  async stop(): Promise<void> {
    for (const channel of this.shard.channels) channel.close();
    await closeShard(this.opened);
  }
}
