package lease

// A Store is the cluster's state, by its subjects. It is safe for concurrent use.
type Store struct {
	*Client
	*sessionStore
	*blockStore
	*reservationStore
	*configStore
	*configEditor
	*rolloutStore
	*adminStore
	*reportStore
}

// Open does not wait for etcd: every call finds out for itself whether etcd answers.
func Open(o Options) (*Store, error) {
	client, err := OpenClient(o)
	if err != nil {
		return nil, err
	}
	s := &Store{Client: client, sessionStore: newSessionStore(client, o.Now), reservationStore: newReservationStore(client)}
	s.blockStore = newBlockStore(client, s.LearnBlocks)
	s.configStore = newConfigStore(client)
	s.configEditor = newConfigEditor(s.configStore)
	s.rolloutStore, s.adminStore = newRolloutStore(client, s.configStore), newAdminStore(client, s.sessionStore, s.configStore)
	s.reportStore = newReportStore(client)
	return s, nil
}
