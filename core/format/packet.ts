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
