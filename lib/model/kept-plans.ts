import type { NativePlan } from '../engine/native-types.js';

/** A server whose users choose the options must not collect plans for ever. */
const KEPT_PLANS = 256;

/** The plans that were used last, by their key. */
export class KeptPlans {
  private readonly plans = new Map<string, NativePlan>();

  constructor(private readonly most = KEPT_PLANS) {}

  /** The plan of a key, made by `record` where it is not known. */
  get(key: string, record: () => NativePlan): NativePlan {
    const known = this.plans.get(key);
    const plan = known ?? record();
    // A Map keeps the order of insertion: what was used last goes to the end.
    if (known !== undefined) this.plans.delete(key);
    else if (this.plans.size >= this.most) this.plans.delete(this.plans.keys().next().value!);
    this.plans.set(key, plan);
    return plan;
  }

  clear(): void {
    this.plans.clear();
  }
}
