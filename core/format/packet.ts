/**
 * A packet's public name: (epoch, shard, serial), written "1-0-4711". It is authenticated by the token's tag,
 * readable without a key, and says nothing about amount or ad.
 */
export interface PacketId {
  readonly epoch: number;
  readonly shard: number;
  readonly serial: number;
}

export function formatPacket(packet: PacketId): string {
  return `${packet.epoch}-${packet.shard}-${packet.serial}`;
}

const PACKET = /^(0|[1-9]\d{0,4})-(0|[1-9]\d{0,4})-(0|[1-9]\d{0,9})$/;

/** @returns the packet that `text` names, or undefined if it is not the canonical spelling of one. */
export function parsePacket(text: string): PacketId | undefined {
  const match = PACKET.exec(text);
  if (!match) return undefined;
  const [epoch, shard, serial] = match.slice(1).map(Number) as [number, number, number];
  if (epoch > 0xffff || shard > 0xffff || serial > 0xffff_ffff) return undefined;
  return { epoch, shard, serial };
}
