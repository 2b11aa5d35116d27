import { type DeliveryFilter, DeliveryStatus } from '../generated/graphql.ts';
import type { InputProblem } from '../graphql/use-action.ts';
import { subscriptionFormWords } from '../subscriptions/messages.ts';
import { listed } from '../ui/problems.ts';

/** The texts of the form, as they are typed. */
export type JobFormValues = {
  readonly tenant: string;
  /** A status, or empty for all. */
  readonly status: string;
  /** Separated by commas or spaces; empty: all. */
  readonly types: string;
  /** Deliveries created within these hours. */
  readonly hours: string;
  /** The id of a subscription; empty: all. */
  readonly subscription: string;
  readonly rate: string;
};

/** The input of startReplay, retryDeliveries and cancelDeliveries. */
export type JobInput = { readonly ratePerSecond: number; readonly filter: DeliveryFilter };

/** The input of the mutation, and the problems of texts that cannot be sent; the server finds all others. */
export function readJobForm(
  form: JobFormValues,
  { nowMs, isAdmin }: { readonly nowMs: number; readonly isAdmin: boolean },
): { readonly input: JobInput; readonly problems: readonly InputProblem[] } {
  const types = listed(form.types);
  const statuses = Object.values(DeliveryStatus).filter((status) => status === form.status);
  const subscription = form.subscription.trim();
  const { ratePerSecond, problems } = readRate(form.rate);
  return {
    input: {
      ratePerSecond,
      filter: {
        from: new Date(nowMs - Number(form.hours) * 3_600_000).toISOString(),
        // Excludes deliveries that are created from now on.
        to: new Date(nowMs).toISOString(),
        ...(isAdmin && { tenant: form.tenant.trim() }),
        ...(statuses.length > 0 && { statuses }),
        ...(types.length > 0 && { eventTypes: types }),
        ...(subscription !== '' && { subscriptionIds: [subscription] }),
      },
    },
    problems,
  };
}

type Rate = { readonly ratePerSecond: number; readonly problems: readonly InputProblem[] };

/** Reads the typed rate. The server checks its limits. */
export function readRate(text: string): Rate {
  const isNumber = /^\d{1,9}$/.test(text.trim());
  return {
    ratePerSecond: Number(text),
    problems: isNumber ? [] : [{ path: 'ratePerSecond', message: subscriptionFormWords.notANumber }],
  };
}
