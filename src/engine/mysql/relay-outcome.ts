/** What became of a command in the relay. */

/** It is to be sent; what is owed for it is noted. */
export const SENT = 0;
/** It cannot go yet. */
export const WAIT = -1;
/** The session has dealt with it. */
export const DEALT_WITH = -2;
/** The session keeps the rest, or has ended. */
export const GONE = -3;
/** Something else goes out in the place of what there is of it; the rest of it is to follow. */
export const REPLACED = -4;
