/**
 * A crowd at a node: clients at once that shake, repeat what they asked, and open what they have, while the
 * operator pushes show configs and a ledger acknowledges. Everything follows from the random source and the disk's
 * schedule.
 */
import type { SeededRandom } from "../random.ts";
import type { Life } from "./life.ts";

const CLIENTS_MAX = 6;

/**
 * @param actions of all clients together
 * @returns when every client has its last answer
 */
export async function crowd(life: Life, actions: number, random: SeededRandom): Promise<void> {
  let left = actions;
  const client = async () => {
    while (left-- > 0) await act(life, random);
  };
  await Promise.all(Array.from({ length: 1 + random.below(CLIENTS_MAX) }, client));
}

async function act(life: Life, random: SeededRandom): Promise<void> {
  const { packets, version } = life.witness;
  const kind = random.below(100);
  const user = `user-${random.below(2 ** 30)}`;
  if (kind < 30) await life.shake(user);
  else if (kind < 50 || packets.length === 0) await life.shake(user, `key-${kind}`);
  else if (kind < 85) await life.open(recent(packets, random));
  else if (kind < 93) {
    const { request, key } = recent(packets, random);
    if (key !== undefined) await life.shake(request.user, key);
  } else if (kind < 96) await life.push(version + 1);
  else life.noteAcknowledged();
}

/** One of the last, more often than not. */
function recent<T>(things: readonly T[], random: SeededRandom): T {
  return random.pick(random.chance(0.8) ? things.slice(-8) : things);
}
