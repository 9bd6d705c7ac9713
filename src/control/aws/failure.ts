/** What the caller of an API is told when a request fails. */

import { StateClosedError, StateError, StateUncertainError } from '../state/state-store.ts';
import { Fault } from './fault.ts';

/** What is nobody's fault but ours goes to `onError`; the caller learns only what became of the change. */
export function faultOf(error: unknown, onError: (error: unknown) => void): Fault {
  if (error instanceof Fault) return error;
  if (error instanceof StateClosedError)
    return new Fault('ServiceUnavailable', 'Berth is stopping.');
  onError(error);
  if (error instanceof StateUncertainError) {
    return new Fault('ServiceUnavailable', 'It is not certain that the change was kept.');
  }
  if (error instanceof StateError) {
    return new Fault('ServiceUnavailable', 'The change could not be kept, so nothing has changed.');
  }
  return new Fault('InternalFailure', 'The request failed because of an unknown error.');
}
