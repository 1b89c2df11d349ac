/**
 * The programme: the show config this node holds, and what is on air right now.
 *
 * A config is taken if the operator signed it, it is for this campaign and it is newer; it is on the disk before
 * it is acknowledged. From then on rounds open and close by this node's clock, without a further message, also
 * after a restart. The file is trusted no more than the network: its signature is checked again on start.
 */
import { join } from "node:path";
import { HongbaoError } from "../../core/format/error.ts";
import type { Manifest } from "../../core/format/manifest.ts";
import {
  type AirState,
  nextChange,
  onAir,
  parseShow,
  type Show,
  type SignedShow,
  signedShowSchema,
} from "../../core/format/show.ts";
import { showSignatureHolds } from "../../core/format/signature.ts";
import type { Disk } from "../../core/store/disk.ts";
import { exists, readSmallFile, replace } from "../../core/store/durable.ts";

export interface OnProgramme {
  readonly air: AirState;
  /** Ads of rounds on air or to come; undefined while any may still come (no plan, or stopped). */
  readonly adsToCome: ReadonlySet<number> | undefined;
}

export type Accepted = "taken" | "not-newer" | "bad-signature";

export class Programme {
  private readonly path: string;
  private readonly disk: Disk;
  private readonly manifest: Manifest;
  private readonly operatorKey: string;
  private plan: Show | undefined;
  private now: OnProgramme = { air: { state: "none", rounds: [] }, adsToCome: undefined };
  /** `now` holds in [fromMs, untilMs). */
  private fromMs = Number.POSITIVE_INFINITY;
  private untilMs = Number.NEGATIVE_INFINITY;
  private accepting: Promise<unknown> = Promise.resolve();

  private constructor(path: string, manifest: Manifest, operatorKey: string, disk: Disk) {
    this.path = path;
    this.disk = disk;
    this.manifest = manifest;
    this.operatorKey = operatorKey;
  }

  /**
   * @param nodeDir where the last config lies, if there was one
   * @param fallback what is on air until a signed config arrives (`--open-now`)
   * @throws HongbaoError `invalid_show` if the persisted config is damaged
   */
  static async open(
    nodeDir: string,
    manifest: Manifest,
    operatorKey: string,
    fallback: Show | undefined,
    disk: Disk,
  ): Promise<Programme> {
    const programme = new Programme(join(nodeDir, "show.json"), manifest, operatorKey, disk);
    programme.plan = (await programme.persisted()) ?? fallback;
    return programme;
  }

  get version(): number | null {
    return this.plan?.version ?? null;
  }

  get show(): Show | undefined {
    return this.plan;
  }

  /** What is on air at `nowMs` (wall clock), worked out once for all moments until the next change. */
  at(nowMs: number): OnProgramme {
    if (nowMs < this.fromMs || nowMs >= this.untilMs) {
      this.now = { air: onAir(this.plan, nowMs), adsToCome: adsToCome(this.plan, nowMs) };
      this.fromMs = nowMs;
      this.untilMs = nextChange(this.plan, nowMs) ?? Number.POSITIVE_INFINITY;
    }
    return this.now;
  }

  /** Takes a config if it may be taken; durable when this resolves. @throws HongbaoError `invalid_show` */
  accept(signed: SignedShow): Promise<Accepted> {
    const accepted = this.accepting.then(() => this.take(signed));
    this.accepting = accepted.catch(() => {});
    return accepted;
  }

  private async take(signed: SignedShow): Promise<Accepted> {
    if (!this.isSigned(signed)) return "bad-signature";
    const plan = this.parse(signed);
    if (this.plan !== undefined && plan.version <= this.plan.version) return "not-newer";
    // If we die here, the operator has no answer and sends again: the same version is then "not newer" or taken.
    await replace(this.path, JSON.stringify(signed), undefined, this.disk);
    this.plan = plan;
    this.untilMs = Number.NEGATIVE_INFINITY;
    return "taken";
  }

  private isSigned(signed: SignedShow): boolean {
    return signed.signatures.some(
      ({ role, sig }) => role === "operator" && showSignatureHolds(this.operatorKey, signed.show, sig),
    );
  }

  private parse(signed: SignedShow): Show {
    const plan = parseShow(signed.show);
    if (plan.campaign !== this.manifest.campaign)
      throw new HongbaoError(
        "invalid_show",
        `the show config is for campaign ${plan.campaign}, this node serves ${this.manifest.campaign}`,
      );
    const known = new Set(this.manifest.ads.map(({ id }) => id));
    const unknown = plan.rounds.flatMap(({ ads }) => ads).find((ad) => !known.has(ad));
    if (unknown !== undefined)
      throw new HongbaoError(
        "invalid_show",
        `the show config names ad ${unknown}, which the campaign does not have`,
      );
    return plan;
  }

  private async persisted(): Promise<Show | undefined> {
    if (!(await exists(this.path, this.disk))) return undefined;
    const advice = "remove it and push the show config again";
    try {
      const bytes = await readSmallFile(this.path, "the show config", 1024 * 1024, this.disk);
      const signed = signedShowSchema.parse(JSON.parse(bytes.toString("utf8")));
      if (this.isSigned(signed)) return this.parse(signed);
    } catch (cause) {
      throw new HongbaoError("invalid_show", `the persisted show config ${this.path} is damaged: ${advice}`, {
        cause,
      });
    }
    throw new HongbaoError(
      "invalid_show",
      `the persisted show config ${this.path} is not signed by the operator: ${advice}`,
    );
  }
}

function adsToCome(plan: Show | undefined, nowMs: number): ReadonlySet<number> | undefined {
  if (plan === undefined || plan.stop) return undefined;
  return new Set(
    plan.rounds.filter((round) => Date.parse(round.closesAt) > nowMs).flatMap((round) => round.ads),
  );
}
