/**
 * An audience at one node: so many guests at the same time, each replaced by a new one when it has had its share,
 * until the venue closes or has nothing more.
 */
import { Agent } from "node:http";
import { type Venue, visit } from "./guest.ts";

/**
 * @param name begins every user's name: no two audiences share a user
 * @returns when the last guest has gone
 */
export async function crowd(venue: Omit<Venue, "agent">, name: string, atOnce: number): Promise<void> {
  const agent = new Agent({ keepAlive: true, maxSockets: atOnce * 2 });
  let users = 0;
  let isOver = false;
  const seat = async () => {
    while (venue.isOpen() && !isOver)
      if ((await visit({ ...venue, agent }, `${name}-${users++}`)) === "over") isOver = true;
  };
  await Promise.all(Array.from({ length: atOnce }, seat));
  agent.destroy();
}
