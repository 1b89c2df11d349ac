/**
 * The shard that this node serves, ready to use: verified, recovered, locked. It holds what shake, open and the
 * forwarder share; each of them keeps its own state to itself.
 */
import type { Frame } from "../../core/format/frame.ts";
import type { ShardKeys } from "../../core/format/keyring.ts";
import type { Manifest } from "../../core/format/manifest.ts";
import type { TokenScope } from "../../core/format/token.ts";
import type { Journal } from "../../core/store/journal.ts";
import type { BlockFeed } from "./block-feed.ts";
import type { Book } from "./book.ts";
import type { Channel } from "./channel.ts";
import type { Clock } from "./clock.ts";
import type { Dice } from "./dice.ts";
import type { Programme } from "./programme.ts";

export interface Shard {
  readonly manifest: Manifest;
  readonly identity: { readonly epoch: number; readonly shard: number };
  readonly scope: TokenScope;
  readonly keys: ShardKeys;
  readonly quotaKey: Uint8Array;
  readonly expiresAtMs: number;
  /** Shard packets / campaign packets: this node's share of a round's rate. */
  readonly shareOfCampaign: number;
  readonly journal: Journal;
  readonly book: Book;
  readonly feeds: readonly BlockFeed[];
  readonly channels: readonly Channel[];
  readonly programme: Programme;
  readonly clock: Clock;
  readonly dice: Dice;
  /** Appends a frame to journal and book in one step. @returns the stream offset behind it */
  append(frame: Frame): number;
}
