/**
 * An access node on a machine of its own: the product's shard, shaker, opener and forwarder on a simulated disk and
 * clock, through as many lives as it is given. It is put together and stopped as `apps/access-node/node.ts` does it,
 * but for the socket.
 */
import { Forwarder } from "../../../apps/access-node/forwarder.ts";
import { type OpenAnswer, Opener, type OpenRequest } from "../../../apps/access-node/open.ts";
import {
  closeShard,
  type OpenedShard,
  openShard,
  type ShardWorld,
} from "../../../apps/access-node/open-shard.ts";
import { type ShakeAnswer, Shaker } from "../../../apps/access-node/shake.ts";
import type { Shard } from "../../../apps/access-node/shard.ts";
import { BrokenInvariant } from "../../../core/format/error.ts";
import type { Frame } from "../../../core/format/frame.ts";
import type { Show, SignedShow } from "../../../core/format/show.ts";
import type { BatchProducer } from "../../../core/store/queue.ts";
import type { SimulatedDisk } from "../simulated-disk/simulated-disk.ts";
import { SIMULATED_ROOTS } from "./deck.ts";
import { DiskTrouble } from "./disk-trouble.ts";
import type { AskedShake, End, HandOuts } from "./hand-outs.ts";
import { Life, nodeClock, WallClock } from "./life.ts";
import { lifeDisk } from "./life-disk.ts";
import { Onlooker } from "./onlooker.ts";
import type { Surroundings } from "./surroundings.ts";

interface Serving {
  readonly life: Life;
  readonly opened: OpenedShard;
  readonly shard: Shard;
  readonly shaker: Shaker;
  readonly opener: Opener;
  readonly forwarder: Forwarder;
  readonly producer: BatchProducer;
  isReady: boolean;
  /** Requests under way. */
  readonly asked: Set<Promise<unknown>>;
}

/** What a client gets: "unavailable" is the 503 of a node that is not ready, or whose journal failed. */
type Asked<T> = T | "unavailable";

export class SimulatedNode {
  readonly name: string;
  readonly wall: WallClock;
  readonly trouble: DiskTrouble;
  private readonly world: Surroundings;
  private readonly shard: number;
  private readonly onlooker: Onlooker;
  private disk: SimulatedDisk;
  private life: Life | undefined;
  private serving: Serving | undefined;

  /** @param startMs what its wall clock shows at the beginning */
  constructor(world: Surroundings, shard: number, startMs: number) {
    this.world = world;
    this.shard = shard;
    this.name = `node-${shard}`;
    this.wall = new WallClock(world.scheduler, startMs);
    this.trouble = new DiskTrouble(world.tallies, world.random);
    this.onlooker = new Onlooker(world, shard, this.name, this.wall);
    this.disk = world.deck.disk.copy();
  }

  get isUp(): boolean {
    return this.serving?.isReady === true;
  }

  get isDown(): boolean {
    return this.life === undefined;
  }

  get lagBytes(): number {
    return this.serving?.forwarder.lagBytes ?? Number.POSITIVE_INFINITY;
  }

  get isSplit(): boolean {
    return this.serving?.forwarder.isSplit === true;
  }

  get machine(): SimulatedDisk {
    return this.disk;
  }

  get handOuts(): HandOuts {
    return this.onlooker.handOuts;
  }

  start(): void {
    if (this.life !== undefined) return;
    const { world } = this;
    const life = new Life(world.scheduler);
    this.life = life;
    this.trouble.forgive();
    world.log.add(this.name, "starts");
    const disk = lifeDisk(this.disk, life, this.trouble, world.random);
    const options = {
      roots: { ...SIMULATED_ROOTS, disk },
      campaign: world.deck.campaign,
      shard: this.shard,
      openNow: world.fallbackShow !== undefined,
    };
    const shardWorld: ShardWorld = {
      clock: nodeClock(life, this.wall),
      dice: () => world.random.below(2 ** 32) / 2 ** 32,
      random: (bytes: number) => Buffer.from(world.random.bytes(bytes)),
      segmentBytes: world.segmentBytes,
      onFailure: (error) => this.fail(life, error),
    };
    life
      .heard(openShard(options, shardWorld).then((opened) => this.serve(life, opened, shardWorld)))
      .catch((error: unknown) => this.fail(life, error));
  }

  /** kill -9: the kernel keeps what was written, and frees the lock. */
  kill(): void {
    if (this.life !== undefined) this.end(this.life, "killed");
  }

  /** What was not synced is there or not, whole or in parts. Also when the program was not running. */
  losePower(): void {
    if (this.life !== undefined) this.end(this.life, "power-lost");
    this.disk = this.disk.powerLoss(this.world.random);
    this.onlooker.lostPower();
  }

  /** SIGTERM: answers what it was asked, gives its leases back, and burns nothing. */
  async stop(): Promise<void> {
    const { serving } = this;
    if (serving === undefined || !serving.isReady) return;
    const { life, shard, forwarder, producer, opened } = serving;
    serving.isReady = false;
    this.world.log.add(this.name, "stops");
    for (const channel of shard.channels) channel.close();
    await life.heard(Promise.all(serving.asked));
    await life.heard(forwarder.stop());
    await life.heard(producer.close());
    // A journal that fails here ends the life by itself.
    await life.heard(closeShard(opened));
    this.end(life, "stopped");
  }

  shake(asked: AskedShake): Promise<Asked<ShakeAnswer | "key-reused">> {
    const request = { user: asked.user, device: asked.device, pass: asked.pass };
    return this.ask(
      ({ shaker }) => shaker.shake(request, asked.key),
      (answer, { shard }) => this.onlooker.shaken(asked, answer, shard.quotaKey),
    );
  }

  open(request: OpenRequest): Promise<Asked<OpenAnswer>> {
    return this.ask(
      ({ opener }) => opener.open(request),
      (answer) => this.onlooker.opened(request, answer),
    );
  }

  /** The operator's push. @param show what it says, if the operator has signed it */
  push(signed: SignedShow, show: Show | undefined): Promise<Asked<"taken" | "not-newer" | "bad-signature">> {
    return this.ask(
      ({ shard }) => {
        this.onlooker.pushed(show);
        return shard.programme.accept(signed);
      },
      (answer, { shard }) => this.onlooker.answeredPush(show, answer, shard.programme.version),
    );
  }

  /** @param answered is told of every answer that leaves the node */
  private async ask<T>(
    call: (serving: Serving) => Promise<T>,
    answered: (answer: T, serving: Serving) => void,
  ): Promise<Asked<T>> {
    const { serving } = this;
    if (serving === undefined || !serving.isReady) return "unavailable";
    const { life, asked } = serving;
    const answer = life.heard(call(serving)).then(
      (value) => {
        answered(value, serving);
        return value;
      },
      (error: unknown) => {
        // As the HTTP surface: what broke an invariant stops the program, everything else is that request's.
        if (error instanceof BrokenInvariant || !this.trouble.hasStruck) this.fail(life, error);
        return "unavailable" as const;
      },
    );
    asked.add(answer);
    answer.finally(() => asked.delete(answer));
    return await answer;
  }

  private async serve(life: Life, opened: OpenedShard, { random }: ShardWorld): Promise<void> {
    if (life.isOver) return;
    this.onlooker.recovered(opened);
    const append = (frame: Frame) => {
      const end = opened.shard.append(frame);
      this.onlooker.appended(frame, end);
      return end;
    };
    const shard: Shard = { ...opened.shard, append };
    const watched = { ...opened, shard };
    const forwarder = Forwarder.of(watched, {
      random,
      alarm: (message) => this.onlooker.alarmed(message),
      onFailure: (error) => this.fail(life, error),
    });
    const queue = this.world.queue.producer(life, (ack) => forwarder.acknowledge(ack));
    const producer: BatchProducer = {
      ...queue,
      send: (jobId, batch) => {
        this.onlooker.sent(shard.keys.wire, batch);
        return queue.send(jobId, batch);
      },
    };
    const shaker = new Shaker(shard);
    const opener = new Opener(shard);
    const asked = new Set<Promise<unknown>>();
    const serving = {
      life,
      opened: watched,
      shard,
      shaker,
      opener,
      forwarder,
      producer,
      isReady: false,
      asked,
    };
    this.serving = serving;
    forwarder.start(producer);
    await life.heard(Promise.all(shard.channels.map((channel) => channel.load())));
    serving.isReady = true;
    this.world.log.add(this.name, "is ready");
  }

  /** The process stops by itself. Only a disk that failed is a reason. */
  private fail(life: Life, error: unknown): void {
    if (life.isOver) return;
    const what = error instanceof Error ? `${error.name}: ${error.message}` : String(error);
    this.world.violations.expect(this.trouble.hasStruck, `${this.name} stopped for no reason: ${what}`);
    this.end(life, "disk-failed");
  }

  private end(life: Life, end: End): void {
    if (life.isOver) return;
    const { serving } = this;
    this.onlooker.ended(end, serving?.life === life ? serving.shard : undefined);
    life.end();
    this.life = undefined;
    this.serving = undefined;
  }
}
