/* fsm_table.h - lists all allowed changes of a VM's state, and what happens to owner and term in
 * each.
 *
 * The protocol's model (docs/model/holdfast.pml) includes this table, and checks that these changes
 * keep the protocol's promises. fsm.c refuses all other changes.
 *
 *	X(from, to, owner, term, by)
 *	  owner  KEPT    the owner stays the same
 *		 OTHER   the other host becomes the owner
 *		 ANY     either host may be the owner afterwards
 *	  term   SAME    the term stays the same
 *		 NEW     a new term begins
 *	  by     OWN     this gateway decides; in a conflict it must not begin a NEW term
 *		 FOLLOW  two voices (rule 5 of fsm.h), or an operator, say who owns the guest
 *
 * Put nothing but this macro here, because the model checker (spin) reads this file too. The model
 * has no states PREPARING and SYNCING.
 */
#ifndef VM_FSM_TABLE_H
#define VM_FSM_TABLE_H

#define VM_TRANSITIONS(X)                                                                          \
	X(UNPROTECTED, PREPARING, KEPT, NEW, OWN)                                                  \
	X(UNPROTECTED, UNPROTECTED, KEPT, NEW, OWN)                                                \
	X(UNPROTECTED, UNPROTECTED, ANY, NEW, FOLLOW)                                              \
	X(UNPROTECTED, PROMOTING, ANY, NEW, FOLLOW)                                                \
	X(PREPARING, SYNCING, KEPT, SAME, OWN)                                                     \
	X(PREPARING, UNPROTECTED, KEPT, NEW, OWN)                                                  \
	X(PREPARING, UNPROTECTED, ANY, NEW, FOLLOW)                                                \
	X(PREPARING, PROMOTING, ANY, NEW, FOLLOW)                                                  \
	X(SYNCING, SYNCING, KEPT, SAME, OWN)                                                       \
	X(SYNCING, SYNCING, ANY, NEW, FOLLOW)                                                      \
	X(SYNCING, PROTECTED, KEPT, SAME, OWN)                                                     \
	X(SYNCING, PROTECTED, ANY, NEW, FOLLOW)                                                    \
	X(SYNCING, UNPROTECTED, KEPT, NEW, OWN)                                                    \
	X(SYNCING, UNPROTECTED, ANY, NEW, FOLLOW)                                                  \
	X(SYNCING, PROMOTING, ANY, NEW, FOLLOW)                                                    \
	X(PROTECTED, SYNCING, KEPT, SAME, OWN)                                                     \
	X(PROTECTED, SYNCING, ANY, NEW, FOLLOW)                                                    \
	X(PROTECTED, PROTECTED, ANY, NEW, FOLLOW)                                                  \
	X(PROTECTED, PROMOTING, OTHER, NEW, OWN)                                                   \
	X(PROTECTED, UNPROTECTED, KEPT, NEW, OWN)                                                  \
	X(PROTECTED, UNPROTECTED, ANY, NEW, FOLLOW)                                                \
	X(PROTECTED, PROMOTING, ANY, NEW, FOLLOW)                                                  \
	X(PROMOTING, UNPROTECTED, KEPT, SAME, OWN)                                                 \
	X(PROMOTING, UNPROTECTED, ANY, NEW, FOLLOW)                                                \
	X(PROMOTING, PROMOTING, ANY, NEW, FOLLOW)                                                  \
	X(PROMOTING, FAILED, KEPT, SAME, OWN)                                                      \
	X(FAILED, PROMOTING, KEPT, NEW, OWN)                                                       \
	X(FAILED, UNPROTECTED, KEPT, SAME, OWN)                                                    \
	X(FAILED, UNPROTECTED, OTHER, NEW, OWN)                                                    \
	X(FAILED, PROMOTING, ANY, NEW, FOLLOW)                                                     \
	X(FAILED, UNPROTECTED, ANY, NEW, FOLLOW)

#endif
