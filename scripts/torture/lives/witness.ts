/**
 * What the world has seen of a shard: every packet, every amount and every show config that a node's answer ever
 * carried, each with the moment (of the disk's log) at which it left. A node may die at any moment; what was seen
 * until then binds every node after it.
 */
import type { ShakeRequest } from "../../../apps/access-node/shake.ts";

export interface SeenPacket {
  readonly moment: number;
  readonly request: ShakeRequest;
  /** Idempotency-Key. */
  readonly key: string | undefined;
  readonly serial: number;
  readonly token: string;
  readonly pass: string;
}

export interface SeenClaim {
  readonly moment: number;
  readonly packet: SeenPacket;
  readonly cents: number;
}

export interface SeenShow {
  readonly moment: number;
  readonly version: number;
}

export class Witness {
  readonly packets: SeenPacket[];
  readonly claims: SeenClaim[];
  readonly shows: SeenShow[];
  private readonly holders: Map<number, SeenPacket>;

  constructor(packets: SeenPacket[] = [], claims: SeenClaim[] = [], shows: SeenShow[] = []) {
    this.packets = packets;
    this.claims = claims;
    this.shows = shows;
    this.holders = new Map(packets.map((packet) => [packet.serial, packet]));
  }

  /** What was seen until `moment`, as the past of a life that begins now. */
  until(moment: number): Witness {
    const past = <T extends { moment: number }>(seen: readonly T[]) =>
      seen.filter((one) => one.moment <= moment).map((one) => ({ ...one, moment: 0 }));
    return new Witness(past(this.packets), past(this.claims), past(this.shows));
  }

  /** @returns what is wrong, if this packet was seen before in other hands */
  sawPacket(packet: SeenPacket): string | undefined {
    const before = this.holders.get(packet.serial);
    if (before === undefined) {
      this.packets.push(packet);
      this.holders.set(packet.serial, packet);
      return undefined;
    }
    const { request, key } = before;
    const sameRequest =
      key !== undefined &&
      key === packet.key &&
      request.user === packet.request.user &&
      request.device === packet.request.device;
    if (sameRequest && before.token === packet.token && before.pass === packet.pass) return undefined;
    return `packet ${packet.serial} of ${request.user} was handed out again to ${packet.request.user}`;
  }

  holder(serial: number): SeenPacket | undefined {
    return this.holders.get(serial);
  }

  /** Of the newest show config that was acknowledged, 0 before any. */
  get version(): number {
    return this.shows.reduce((newest, { version }) => Math.max(newest, version), 0);
  }
}
