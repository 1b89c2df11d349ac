import { expect, it } from "vitest";
import { claimQueueName } from "../../../core/format/queue-name.ts";

it("the queue's name tells campaign, epoch and mint apart, and has nothing that BullMQ forbids", () => {
  const manifest = { campaign: "gala-2027", epoch: 3, planHash: "0123456789abcdef".repeat(4) };
  expect(claimQueueName(manifest)).toBe("hongbao-gala-2027-e3-01234567");
  expect(claimQueueName(manifest)).not.toContain(":");
});
