package pki

import (
	"fmt"

	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"
)

// WriteKubeconfig writes a kubeconfig with one context, named as the site.
func WriteKubeconfig(file, site, server string, authority []byte, leaf Leaf) error {
	config := api.NewConfig()
	config.Clusters[site] = &api.Cluster{Server: server, CertificateAuthorityData: authority}
	config.AuthInfos[site] = &api.AuthInfo{ClientCertificateData: leaf.Certificate, ClientKeyData: leaf.Key}
	config.Contexts[site] = &api.Context{Cluster: site, AuthInfo: site}
	config.CurrentContext = site
	if err := clientcmd.WriteToFile(*config, file); err != nil {
		return fmt.Errorf("write kubeconfig: %w", err)
	}
	return nil
}

// MergeKubeconfigs writes one kubeconfig with the contexts of several; the first one's is the current one.
func MergeKubeconfigs(target string, files []string) error {
	rules := &clientcmd.ClientConfigLoadingRules{Precedence: files}
	merged, err := rules.Load()
	if err != nil {
		return fmt.Errorf("merge kubeconfigs: %w", err)
	}
	if err := clientcmd.WriteToFile(*merged, target); err != nil {
		return fmt.Errorf("write kubeconfig: %w", err)
	}
	return nil
}
