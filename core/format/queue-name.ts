/**
 * The one name under which nodes and worker of a mint meet in the queue. BullMQ forbids ':' in it; campaign
 * identifiers hold only lower-case letters, digits and dashes.
 */
export function claimQueueName(campaign: string, epoch: number): string {
  return `hongbao-${campaign}-e${epoch}`;
}
