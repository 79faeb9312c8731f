package model

// A Breach is a way in which the code could fail to keep to the design. Every model knows those that concern it.
type Breach string

// Breaches of rights and taking.
const (
	None             Breach = ""
	NoGeneration     Breach = "transactions do not compare the node's generation and session"
	NoWait           Breach = "a take does not wait for the right to run out"
	NoTenth          Breach = "a take waits for the right without its tenth"
	WaitGoesOn       Breach = "a wait goes on when the node's key has changed"
	TwoWatches       Breach = "the session's absence and the node's key are seen apart"
	NoNodeCompare    Breach = "a take does not compare the node's key"
	NoAbsentCompare  Breach = "a take does not compare that the session key is absent"
	NoBlockCompare   Breach = "a transaction does not compare the block"
	OpenUnsettled    Breach = "a slot is opened before the node has settled"
	ArmAtAnswer      Breach = "a slot is armed by the proof's answer"
	OneSlot          Breach = "the slot that is open is armed for the proof"
	RenewalIsProof   Breach = "an answered renewal counts as a proof"
	KernelNotLimited Breach = "a shorter right is written before the kernel keeps to it"
	LateAnswerCounts Breach = "an answer to a former session gives to the present one"
	NoIsolation      Breach = "an agent does not isolate what is another's by now"
	SettleBeforeJoin Breach = "settling reads before the node's key is rewritten"
)

// Breaches of splits; NoGeneration and SettleBeforeJoin are others.
const (
	TransferKeeps     Breach = "a part is transferred before it is out of the allocator"
	ReadSettles       Breach = "a read resolves a lost answer"
	ReleaseForgets    Breach = "a released block's revision is forgotten"
	AgainAtSame       Breach = "a version that is known already is brought in again"
	SettleGoesBack    Breach = "settling brings in an older version than the watch has"
	AllocateUnsettled Breach = "addresses are allocated before the node has settled"
	WatchAddsNothing  Breach = "the watch notifies nobody of a part that is theirs"
)

// Breaches of reservations; NoNodeCompare, NoBlockCompare (here: the reservation's) and NoIsolation are others.
const (
	NoEpoch            Breach = "a detachment compares the attachment without its epoch"
	SameEpochAgain     Breach = "attaching the same attachment again does not raise the epoch"
	JournalAfterAnswer Breach = "the journal is written after the answer"
	CommitUnderAny     Breach = "an ADD commits under another session than it reserved under"
	UnknownInFlight    Breach = "what is unknown is detached while its ADD is under way"
	UnknownAtSettling  Breach = "what is unknown is detached only by settling"
	OnlyHoldersCount   Breach = "a raised epoch isolates only while somebody holds the reservation"
	OnlyEpochsCount    Breach = "another identity's record isolates only by a higher epoch"
	DelOfAnyLife       Breach = "a DEL does not compare when its ADD began"
)

// Breaches of an etcd restored; NoIsolation and LateAnswerCounts are others.
const (
	NoClusterCompare   Breach = "transactions do not compare the cluster's key"
	ProofOfAnyCluster  Breach = "a proof does not compare which etcd answers, and the cluster's key"
	AnswerOfAnyCluster Breach = "an answer does not compare which etcd gives it"
	AcceptAtOnce       Breach = "a cluster is accepted before the rights have run out"
	ClaimInRecovery    Breach = "a node claims before the cluster is accepted"
	UseInRecovery      Breach = "a node uses what only etcd says is its own before the cluster is accepted"
	NoAssert           Breach = "what etcd has no record of is not asserted again"
	GoesOnLate         Breach = "a node whose right has run out proves it anew without joining and settling"
	OpenInRecovery     Breach = "a node whose right has run out lets pass what it asserts before the others' rights have"
	NoVoid             Breach = "who meets a restored etcd first does not rewrite the cluster's key"
	AssertOver         Breach = "what another has a record of is asserted again"
)
